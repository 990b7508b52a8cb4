"""The catalogue: entries that hold together, conservative likeness, and reproductions that end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from hicache_impl.sglang import fetch
from hicache_impl.sglang.releases import HIRADIX, KNOWN_OF, UNIFIED
from hicache_impl.target import Description
from hicache_model.configuration import Configuration
from hicache_model.dialects import Dialect, release_key
from hicache_model.laws import LAWS
from hicache_model.operations import CompleteLoads, EvictDevice, Insert, LoadBack, RetractRequest
from hicache_model.outcomes import Inserted
from hicache_model.reference import Reference
from hicache_model.rules import refusal
from hicache_model.snapshot import Node
from hicache_model.snapshot import Path as NodePath
from hicache_verify import trace as traces
from hicache_verify.catalogue import ENTRIES, Entry, UnknownEntry, command, find, resembles
from hicache_verify.catalogue.events import (
    AGREED,
    DIVERGED,
    FAILED,
    EntryDone,
    Event,
    RunRefused,
    StepDone,
    TraceDone,
)
from hicache_verify.catalogue.files import by_hand
from hicache_verify.catalogue.reproduce import reproduce, runs
from hicache_verify.divergence import Divergence, NodePair
from hicache_verify.engine_laws import SENTENCES
from hicache_verify.replay import Step
from hicache_verify.targets import TargetSpec
from hicache_verify.workers.autopsy import Ending
from hicache_verify.workers.journal import Entry as JournalEntry
from hicache_verify.workers.journal import Phase
from hicache_verify.workers.messages import Attempt, Attempted, Broken, Opened, Refused
from tests.fetched import fetched

HOST_LEAF, LIFETIME = find(["19212", "27631"])
NAMES = ", ".join(entry.identifier for entry in ENTRIES)
CACHE_OF = {"sglang": HIRADIX, "sglang-unified": UNIFIED, "sglang-unified-rust": UNIFIED}
every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.identifier)


# -- entries ---------------------------------------------------------------------------------------


@every_entry
def test_an_entry_holds_together(entry: Entry) -> None:
    assert set(entry.laws) <= {*LAWS, *SENTENCES}
    assert set(entry.affected) | set(entry.fixed) <= set(KNOWN_OF[CACHE_OF[entry.target]])
    assert not set(entry.affected) & set(entry.fixed)
    assert entry.shown_on[0] in entry.affected
    assert set(entry.shown_on[1:]) <= set(entry.fixed)
    assert len(entry.shown_on) == 1 + bool(entry.fixed)
    assert entry.story.endswith(".")
    assert entry.patch is None or entry.patch.old != entry.patch.new
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


@every_entry
def test_its_traces_are_legal_to_the_end_where_the_defect_is_not(entry: Entry) -> None:
    for named in entry.traces:
        assert named.configuration.write_policy in entry.write_policies
        dialect = Dialect.of(entry.shown_on[-1], CACHE_OF[entry.target])
        model = Reference(named.configuration, attrs.evolve(dialect, **dict(entry.strict)))
        for op in named.operations:
            assert refusal(model, op) is None
            model.apply(op)


@every_entry
def test_its_patch_applies_to_every_affected_release(entry: Entry) -> None:
    if entry.patch is None:
        pytest.skip("no few lines mend it")
    cached = sorted(set(entry.affected) & set(fetch.cached_releases()))
    if not cached:
        pytest.skip("none of its releases is in the cache")
    for release in cached:
        patch = entry.patch_of(release)
        if patch is None:
            assert release_key(release) <= release_key(entry.earlier_patches[0][0])
            continue
        file = fetch.unpacked(release).joinpath(*patch.module.split(".")[1:])
        text = file.with_suffix(".py").read_text(encoding="utf-8")
        assert text.count(patch.old) == 1, release


def test_entries_are_found_by_their_numbers() -> None:
    assert find(["#19212", "19212"]) == (HOST_LEAF,)
    with pytest.raises(UnknownEntry, match=f"no entry '1' in the catalogue; it has {NAMES}"):
        find(["1"])


def test_a_defect_without_a_trace_is_told_as_such() -> None:
    with pytest.raises(UnknownEntry, match="no trace to play") as told:
        find(["overwritten-state"])
    assert "upstream_tests/overwritten_state.py" in str(told.value)


# -- likeness --------------------------------------------------------------------------------------

KEPT = Node(NodePath(None, (1,)), 1, None, (0,), 0, 0, False, True)
DUE = attrs.evolve(KEPT, in_host_leaves=False)
BROKEN_SET = Divergence(
    "law",
    "host-leaves",
    "law",
    "broken",
    3,
    EvictDevice(2),
    (NodePair(KEPT.path, DUE, KEPT),),
)
LOST_LOAD = Divergence("law", "pinned-until-ack", "law", "broken", 4, LoadBack((1,)))


@pytest.mark.parametrize("release", ["0.5.9", "0.5.10", "0.5.10.post1", "0.5.10.post1+local"])
def test_a_broken_host_leaf_set_resembles_its_issue(release: str) -> None:
    assert resembles(BROKEN_SET, release) == "#19212"


def test_an_issue_of_one_cache_is_not_seen_in_another() -> None:
    assert resembles(BROKEN_SET, "0.5.9", "sglang-unified") is None


def test_a_load_that_lost_its_pages_resembles_its_issue() -> None:
    assert resembles(LOST_LOAD, "0.5.14") == "#27631"
    assert resembles(attrs.evolve(LOST_LOAD, kind="data", law="bytes"), "0.5.9") == "#27631"


def test_a_defect_of_stripped_thoughts_is_seen_only_where_they_are() -> None:
    given_back = Divergence("law", "single-owner", "law", "broken", 1, RetractRequest(0))
    seen = partial(resembles, given_back, "0.5.23", "sglang-unified")
    stripped = Configuration(strip_thinking=True)
    assert (seen(kept=stripped), seen(kept=Configuration())) == ("stripped-thinking", None)
    crash = attrs.evolve(given_back, kind="crash", law="no-crash", place="m:f:1")
    assert resembles(crash, "0.5.23", "sglang-unified", stripped) is None
    crash = attrs.evolve(crash, place="m:checkpoint_into_tree:1")
    assert resembles(crash, "0.5.23", "sglang-unified", stripped) == "stripped-thinking"


def test_a_defect_of_a_component_is_seen_only_beside_that() -> None:
    given_back = Divergence("law", "single-owner", "law", "broken", 1, RetractRequest(0))
    seen = partial(resembles, given_back, "0.5.21", "sglang-unified")
    window = Configuration(component="swa", component_slots=8, window=2)
    assert (seen(kept=window), seen(kept=Configuration())) == ("short-window", None)


@pytest.mark.parametrize(
    ("divergence", "release"),
    [
        (BROKEN_SET, "0.5.11"),
        (BROKEN_SET, "0.5.10.post2"),
        (BROKEN_SET, "unknown"),
        (attrs.evolve(BROKEN_SET, law="device-leaves"), "0.5.9"),
        (attrs.evolve(BROKEN_SET, nodes=()), "0.5.9"),
        (attrs.evolve(BROKEN_SET, nodes=(NodePair(KEPT.path, KEPT, DUE),)), "0.5.9"),
        (attrs.evolve(BROKEN_SET, nodes=(NodePair(KEPT.path, None, KEPT),)), "0.5.9"),
        (LOST_LOAD, "0.5.15"),
        (attrs.evolve(LOST_LOAD, operation=CompleteLoads(1)), "0.5.14"),
        (attrs.evolve(LOST_LOAD, operation=None), "0.5.14"),
        (attrs.evolve(LOST_LOAD, law="conservation"), "0.5.14"),
        (attrs.evolve(LOST_LOAD, kind="crash"), "0.5.14"),
    ],
)
def test_what_does_not_fit_in_all_respects_resembles_nothing(
    divergence: Divergence, release: str
) -> None:
    assert resembles(divergence, release) is None


# -- reproducing, with workers that only talk ------------------------------------------------------

SAW = Divergence("law", "host-leaves", "law", "node [1] is broken", 0, Insert((1,)))
OTHER = attrs.evolve(SAW, law="sizes")
ANSWERED = Step(Insert((1,)), Inserted(0), None)


def answers(job: Attempt, found: Divergence | None) -> Attempted:
    return Attempted(found, job.case, steps=(ANSWERED,))


def as_due(spec: TargetSpec, job: Attempt) -> Attempted:
    affected = spec.release == "0.5.10.post1" and not spec.patches
    return answers(job, SAW if affected else None)


def ending(reason: str, returncode: int | None) -> Ending:
    configuration = HOST_LEAF.traces[0].configuration
    entry = JournalEntry(Phase.PERFORMING, False, 1, 1, configuration, (Insert((1,)),))
    return Ending(reason, returncode, entry)


class Talker:
    """A worker; ``says`` is asked for the answer to each job."""

    def __init__(self, spec: TargetSpec, says: Says) -> None:
        self.spec, self.says = spec, says
        self.words: list[Any] = [Opened(DESCRIPTION, ())]
        self.closed = False

    def send(self, job: Any) -> None:
        self.words.append(self.says(self.spec, job))

    def poll(self, timeout: float) -> Any:
        return self.words.pop(0)

    def pulse(self) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


Says: TypeAlias = Callable[[TargetSpec, Attempt], Any]
DESCRIPTION = Description("sglang", "0.5.18", "nowhere", ("lru",))


class Talkers:
    """An executor; ``refusal`` is the first word of its workers."""

    def __init__(self, says: Says, refusal: Refused | None = None) -> None:
        self.says, self.refusal = says, refusal
        self.started: list[Talker] = []

    def start(self, spec: TargetSpec) -> Talker:
        self.started.append(Talker(spec, self.says))
        if self.refusal:
            self.started[-1].words = [self.refusal]
        return self.started[-1]


def told(says: Says, refusal: Refused | None = None) -> tuple[list[Event], list[Talker]]:
    executor = Talkers(says, refusal)
    return list(reproduce([HOST_LEAF], executor=executor)), executor.started


def test_the_affected_release_its_patch_and_the_fixed_one_are_played() -> None:
    events, workers = told(as_due)
    done = [event for event in events if isinstance(event, TraceDone)]
    assert [(e.run.release, e.run.patched, e.verdict) for e in done] == [
        ("0.5.10.post1", False, DIVERGED),
        ("0.5.10.post1", False, DIVERGED),
        ("0.5.10.post1", True, AGREED),
        ("0.5.10.post1", True, AGREED),
        ("0.5.18", False, AGREED),
        ("0.5.18", False, AGREED),
    ]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert (steps[0].step, steps[0].divergence) == (ANSWERED, SAW)
    assert events[-1] == EntryDone(HOST_LEAF, True)
    assert [worker.closed for worker in workers] == [True] * 3
    assert workers[1].spec.patches == (HOST_LEAF.patch,)


def test_every_release_that_an_entry_names_can_be_asked_for() -> None:
    asked = [(run.release, run.patched) for run in runs(HOST_LEAF, True)]
    assert len(asked) == len(set(asked)) == 2 * len(HOST_LEAF.affected) + len(HOST_LEAF.fixed)


@pytest.mark.parametrize(
    ("answer", "verdict", "law", "problem"),
    [
        (lambda job: answers(job, OTHER), DIVERGED, "sizes", ""),
        (lambda job: answers(job, None), AGREED, "", ""),
        (
            lambda job: Attempted(None, job.case, illegal=(2, "it is locked")),
            FAILED,
            "",
            "operation 3 is not legal there: it is locked",
        ),
        (lambda job: ending("hang", None), DIVERGED, "no-hang", ""),
        (lambda job: ending("death", -11), DIVERGED, "no-death", ""),
        (lambda job: Broken("we are broken", ""), FAILED, "", "we are broken"),
    ],
)
def test_whatever_becomes_of_it_is_told_and_is_not_as_expected(
    answer: Callable[[Attempt], Any], verdict: str, law: str, problem: str
) -> None:
    events, workers = told(lambda spec, job: answer(job))
    done = next(event for event in events if isinstance(event, TraceDone))
    assert (done.verdict, done.law, done.problem) == (verdict, law, problem)
    assert not done.as_expected
    assert events[-1] == EntryDone(HOST_LEAF, False)
    assert len([event for event in events if isinstance(event, TraceDone)]) == 6
    assert all(worker.closed for worker in workers)


OFFLINE = Refused("Offline", "offline")


def test_a_release_that_cannot_be_had_decides_nothing() -> None:
    events, workers = told(as_due, OFFLINE)
    assert [e.problem for e in events if isinstance(e, RunRefused)] == ["offline"] * 3
    assert events[-1] == EntryDone(HOST_LEAF, None)
    assert all(worker.closed for worker in workers)


# -- the command -----------------------------------------------------------------------------------


def ask(*ids: str, **flags: Any) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = command.reproduce_command(ids, out=out, err=err, **flags)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def play_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(says: Says, refusal: Refused | None = None) -> None:
        def fake(entries: Iterable[Entry], every_release: bool) -> Iterator[Event]:
            executor = Talkers(says, refusal)
            return reproduce(entries, every_release=every_release, executor=executor)

        monkeypatch.setattr(command, "reproduce", fake)

    return use


def test_exit_0_when_every_expectation_held(play_with: Any) -> None:
    play_with(as_due)
    code, out, err = ask("19212")
    assert (code, err) == (0, "")
    assert "#19212: every expectation held" in out
    assert "\n+             if child.backuped:\n" in out
    assert max(map(len, out.splitlines())) <= 100


def test_exit_1_when_one_did_not(play_with: Any) -> None:
    play_with(lambda spec, job: answers(job, OTHER))
    code, out, err = ask("19212")
    assert (code, err) == (1, "")
    assert "#19212: an expectation did not hold" in out


def test_exit_2_when_it_could_not_be_tried(play_with: Any) -> None:
    play_with(as_due, OFFLINE)
    code, _, err = ask("19212")
    assert code == 2
    assert err == "sglang 0.5.18: offline\n"
    assert ask("12") == (2, "", f"no entry '12' in the catalogue; it has {NAMES}\n")
    assert ask() == (
        2,
        "",
        f"name an entry, or give --all or --list; the catalogue has {NAMES}\n",
    )


def test_what_diverges_as_it_should_is_written_as_traces_and_tests(
    play_with: Any, tmp_path: Path
) -> None:
    play_with(as_due)
    assert ask("19212", folder=tmp_path / "new")[0] == 0
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    stems = "19212-0.5.10.post1-1", "19212-0.5.10.post1-2"
    forms = "19212_0_5_10_post1_1", "19212_0_5_10_post1_2"
    assert names == sorted(
        [f"{stem}.jsonl" for stem in stems]
        + [f"test_{form}_{kind}.py" for form in forms for kind in ("replay", "upstream")]
    )
    written = traces.read(tmp_path / "new" / f"{stems[0]}.jsonl")
    assert written.operations == HOST_LEAF.traces[0].operations
    (tmp_path / "file").touch()
    code, out, err = ask("19212", folder=tmp_path / "file")
    assert (code, out) == (2, "")
    assert err.endswith("file: File exists; name another folder with --out\n")


def reproduced_into(folder: Path, identifier: str, play_with: Any) -> None:
    """As the catalogue says: it diverges, and agrees with the patch, if there is one."""
    (entry,) = find([identifier])
    found = attrs.evolve(SAW, law=entry.laws[0])
    play_with(lambda spec, job: answers(job, None if spec.patches else found))
    assert ask(identifier, folder=folder)[0] == 0


def test_what_is_judged_more_strictly_has_no_replay_that_would_agree(
    play_with: Any, tmp_path: Path
) -> None:
    reproduced_into(tmp_path, "backup-in-vain", play_with)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"backup-in-vain-0.5.23-{number}.jsonl" for number in (1, 2)),
        *(f"test_backup_in_vain_0_5_23_{number}_upstream.py" for number in (1, 2)),
    ]


def test_a_test_that_was_written_by_hand_takes_the_place_of_a_generated_one(
    play_with: Any, tmp_path: Path
) -> None:
    reproduced_into(tmp_path, "cleared-state", play_with)
    written = (tmp_path / "test_cleared_state_0_5_23_1_upstream.py").read_text()
    assert written == by_hand("cleared_state.py")


def test_what_no_plain_call_shows_has_no_test_in_them(play_with: Any, tmp_path: Path) -> None:
    reproduced_into(tmp_path, "unawaited-load", play_with)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "test_unawaited_load_0_5_23_1_replay.py",
        "unawaited-load-0.5.23-1.jsonl",
    ]


def test_json_is_one_object_and_nothing_else(play_with: Any) -> None:
    play_with(as_due)
    code, out, err = ask("19212", json_=True)
    data = json.loads(out)
    assert (code, err, data["verdict"]) == (0, "", "held")
    trace = data["entries"][0]["runs"][0]["traces"][0]
    assert trace["law"] == "host-leaves"
    assert trace["steps"][0]["operation"] == {"op": "insert", "tokens": [1]}
    play_with(as_due, OFFLINE)
    code, out, err = ask(all_=True, json_=True)
    assert (code, json.loads(out)["verdict"], err) == (2, "error", "")
    assert json.loads(ask("x", json_=True)[1])["verdict"] == "error"


def test_the_list_names_every_entry() -> None:
    code, out, _ = ask(list_=True)
    assert code == 0
    assert all(entry.identifier in out and entry.laws[0] in out for entry in ENTRIES)
    data = json.loads(ask(list_=True, json_=True)[1])
    assert [entry["id"] for entry in data["entries"]] == NAMES.split(", ")


# -- on the real releases --------------------------------------------------------------------------


def test_the_real_affected_release_diverges() -> None:
    fetched("0.5.10.post1")
    one = attrs.evolve(HOST_LEAF, traces=HOST_LEAF.traces[:1])
    for event in reproduce([one]):
        if isinstance(event, TraceDone):
            assert (event.verdict, event.law) == (DIVERGED, "host-leaves")
            break


@pytest.mark.slow
@every_entry
def test_every_expectation_holds_on_every_release(entry: Entry) -> None:
    events = list(reproduce([entry], every_release=True))
    wrong = [e for e in events if isinstance(e, TraceDone) and not e.as_expected]
    assert wrong == []
    assert events[-1] == EntryDone(entry, True)
