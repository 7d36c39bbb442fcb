from types import SimpleNamespace

import pytest

from ccb_lib.reproduction.runs import Run
from ccb_lib.reproduction.watch import GRACE, TimeUp, Watch, duration

RUN = Run(dataset="digits", method="ccb", abnormal=("8",))
DETECTOR = SimpleNamespace(epochs=3, batch_size=16)  # 64 images are 4 steps an epoch


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def begun(seconds=None):
    clock, said = Clock(), []
    watch = Watch(None if seconds is None else seconds / 3600, said.append, clock=clock)
    watch.begin(RUN, 64, DETECTOR, None)
    return watch, clock, said


def step(watch, clock, seconds):
    clock.now += seconds
    watch.after_step(RUN)


def test_times_are_those_of_steps_and_of_what_lies_between_epochs():
    watch, clock, said = begun()
    for seconds in (50, 2, 3, 2):  # the first warms up
        step(watch, clock, seconds)
    progress = watch.at_work[RUN.key]
    assert progress.per_step == 2
    assert progress.left == 2 * 4 * 2
    assert "epoch 1 of 3, scoring" in str(progress)
    watch.after_epoch(RUN, 1)
    step(watch, clock, 12)  # 10 of scoring, and a step
    assert progress.scoring == 10
    assert progress.next_epoch == 4 * 2 + 10
    assert progress.left == 2 * 18 - 2
    assert (
        str(progress)
        == "digits ccb 8 seed 0: epoch 2 of 3, step 1 of 4, 2 s/step, 34 s of training left"
    )
    watch.after_epoch(RUN, 3)
    assert str(progress) == "digits ccb 8 seed 0: trained, scoring"
    watch.end(RUN, "stored")
    assert said == ["digits ccb 8 seed 0: begins", "digits ccb 8 seed 0: stored"]
    assert watch.at_work == {}


@pytest.mark.parametrize(("late", "stops"), [(GRACE - 1, False), (GRACE + 1, True)])
def test_an_epoch_that_would_end_too_late_is_not_begun(late, stops):
    # One epoch takes 4 · 10 s, and the first step of the second ends 10 s after it.
    watch, clock, _ = begun(seconds=10 + 3 * 10 + 40 - late)
    for _ in range(4):
        step(watch, clock, 10)
    watch.after_epoch(RUN, 1)
    if not stops:
        return step(watch, clock, 10)
    with pytest.raises(TimeUp, match="after epoch 1 of digits ccb 8 seed 0: the next needs 40 s"):
        step(watch, clock, 10)
    with pytest.raises(TimeUp, match="after epoch 1"):
        watch.check()


def test_an_epoch_that_turns_out_longer_is_stopped_within():
    watch, clock, _ = begun(seconds=30)
    step(watch, clock, 30 + GRACE - 1)
    with pytest.raises(TimeUp, match=r"within epoch 1 of .* which will be repeated"):
        step(watch, clock, 2)


def test_no_run_begins_when_the_time_is_up():
    watch, clock, _ = begun(seconds=30)
    watch.check()
    clock.now += 31
    with pytest.raises(TimeUp, match="The time is up"):
        watch.check()


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "60 min"), (5400, "1.5 h")],
)
def test_durations_in_words(seconds, spoken):
    assert duration(seconds) == spoken


def test_the_users_ctrl_c_is_not_taken_for_the_end_of_the_time():
    watch, clock, _ = begun(seconds=30)
    clock.now += 31
    with pytest.raises(TimeUp):
        watch.check()

    def interrupted():
        with watch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
