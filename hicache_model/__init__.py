"""What is right: the vocabulary, the reference cache, the definitions and the laws."""
