"""Work on a GPU recorded once and replayed as one CUDA graph; where it cannot be recorded, it is simply done."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

_WARM_UPS = 3  # libraries allocate and choose their kernels in the first calls, which a recording could not hold


class CapturedWork:
    """A piece of work without arguments or result: all that it reads and writes are tensors that stay where they are.

    On CUDA it is recorded once and each call replays the recording: hundreds of kernels for the price of one launch.
    Elsewhere, or where recording fails, each call does the work.

    Args:
        work: Must not wait for the device, and must do the same kernels each time.
        device: Where it runs.
        restored: Gives a context that puts back what the warm-up before the recording changes.
        generator: What the work draws its random numbers from, in place of the device's own generator.
        what: Names the work in the warning where it cannot be recorded.

    Attributes:
        recorded: Whether calls replay a graph.
    """

    def __init__(
        self,
        work: Callable[[], None],
        device: torch.device,
        *,
        restored: Callable[[], AbstractContextManager] = nullcontext,
        generator: torch.Generator | None = None,
        what: str = "this work",
    ) -> None:
        self._call = work
        self.captured = False
        if device.type == "cuda":
            try:
                self._call = _record(work, device, restored, generator).replay
                self.captured = True
            except RuntimeError as error:
                warnings.warn(
                    f"No CUDA graph could be made of {what}, so it runs kernel by kernel, with the same result and "
                    f"several times slower. The reason: {str(error).splitlines()[0]}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def __call__(self) -> None:
        """Do the work once, on the current stream."""
        self._call()


class CapturedFunction:
    """A function from one tensor to several, replayed for every tensor of the shape that it was recorded with.

    Args:
        function: From a batch to a tuple of tensors; must do the same kernels each time.
        example: A batch; its values do not matter.
    """

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, ...]], example: Tensor) -> None:
        self._function, self._x = function, example.clone()
        self._results: tuple[Tensor, ...] = ()
        self._replayed = CapturedWork(self._work, example.device, what="scoring")

    def _work(self) -> None:
        self._results = self._function(self._x)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what the function would."""
        if not self._replayed.captured or x.shape != self._x.shape:
            return self._function(x)
        self._x.copy_(x)
        self._replayed()
        return tuple(result.clone() for result in self._results)


def _record(
    work: Callable[[], None],
    device: torch.device,
    restored: Callable[[], AbstractContextManager],
    generator: torch.Generator | None,
) -> torch.cuda.CUDAGraph:
    graph, stream, current = torch.cuda.CUDAGraph(), torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.device(device), _drawing_from(generator, device), _choosing_kernels():
        with torch.cuda.stream(stream), restored():
            for _ in range(_WARM_UPS):
                work()
        with torch.cuda.graph(graph, stream=stream):
            work()
    current.wait_stream(stream)
    return graph


@contextmanager
def _drawing_from(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """Let the device's generator stand for another inside the block, and leave it as it was.

    Layers such as dropout draw from the device's generator and from no other. A graph remembers the state that stood
    there when it was recorded, so a graph with a state of its own neither disturbs others nor is disturbed by them.
    """
    with torch.random.fork_rng(devices=[device]):
        if generator is None:
            yield
            return
        index = torch.cuda.current_device() if device.index is None else device.index
        devices_own = torch.cuda.default_generators[index]
        kept = devices_own.graphsafe_get_state()
        devices_own.graphsafe_set_state(generator.graphsafe_get_state())
        try:
            yield
        finally:
            devices_own.graphsafe_set_state(kept)


@contextmanager
def _choosing_kernels() -> Iterator[None]:
    """Let cuDNN time its kernels in the warm-up, unless the user asked for the same ones each time."""
    was = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = was or not (
        torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    )
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = was


@contextmanager
def restored(tensors: Iterable[Tensor], optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Put tensors and optimisers back, in place, as they were before the block; gradients are dropped.

    Args:
        tensors: Parameters and buffers.
        optimizers: Whose state starts from zeros, as Adam's does. State that the block made stays, as zeros.
    """
    tensors = list(tensors)
    kept = [tensor.detach().clone() for tensor in tensors]
    states = [{p: {k: v.clone() for k, v in state.items()} for p, state in o.state.items()} for o in optimizers]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, old in zip(tensors, kept, strict=True):
                tensor.copy_(old)
            for optimizer, state_before in zip(optimizers, states, strict=True):
                for parameter, state in optimizer.state.items():
                    for key, value in state.items():
                        old = state_before.get(parameter, {}).get(key)
                        value.copy_(torch.zeros_like(value) if old is None else old)
                optimizer.zero_grad(set_to_none=True)
