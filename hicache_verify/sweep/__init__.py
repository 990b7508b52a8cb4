"""Every release, cache, tree core and write policy, one campaign each: a table that can go on."""
