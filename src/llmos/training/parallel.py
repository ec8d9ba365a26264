"""Several processes that train one model together at one site, each on its share of every batch.

Start them with `torchrun --nproc-per-node 2 ...` (on GPUs one process each), or with
`accelerate launch --multi_gpu --num_processes 2 ...`, which starts torchrun. (`accelerate launch
--cpu --num_processes 2` starts one process.) Then, in every process alike:

    with processes_from_environment("ddp") as processes:        # alone when nobody started several
        trainer = Trainer(..., processes=processes)             # batch_size is that of all together
        report = trainer.run(steps)                             # the same report in all
        scores = trainer.inside(lambda: objective.score(model, documents))  # all must take part
        state = {**trainer.state(), "weights": trainer.weights()}           # all must take part
        if processes.is_first:
            ...                                                 # one writes; all may read
        go_on = processes.broadcast(decision)                   # what the first decided
        processes.barrier()                                     # wait until all are here

The result does not depend on how many they are, but for the order of sums, which Muon's bfloat16
feels most, and for dropout, of which each draws its own: counts are those of the whole batch,
losses and gradients are summed. With as many processes as before, a restart gives the same bits.

"ddp" keeps a whole model in each process (torch's DistributedDataParallel). "fsdp" divides weights,
gradients and moments among them (FSDP2, torch's fully_shard), block by block; it runs on GPUs and,
over gloo, on processors. Under it whatever reads weights or moments is a joint act, and the model
may be called in a training step or through `Trainer.inside` only. Arithmetic is that of autocast
and gradients are summed in float32, as in one process. In bf16 the backward pass keeps a bfloat16
copy of every weight in each process, unless training.gradient_checkpointing is on.
"""

from __future__ import annotations

import inspect
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from llmos.device import default_device
from llmos.errors import TrainingError, UsageError

T = TypeVar("T")

TIMEOUT = 1800.0
"""Seconds that a process waits for the others before it takes them for lost."""


class Processes:
    """This process alone, and the base of several. `rank` counts from 0 to `count` - 1."""

    rank = 0
    count = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and tells the user."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """The rows of a batch that this process computes; `UsageError` if they cannot be equal."""
        size, rest = divmod(batch_size, self.count)
        if rest:
            raise UsageError(
                f"training.batch_size is {batch_size}, which {self.count} processes cannot share "
                f"equally: make it a multiple of {self.count}, or start fewer processes"
            )
        return range(self.rank * size, (self.rank + 1) * size)

    def wrap(self, losses: nn.Module) -> nn.Module:
        """The module that computes the losses, made one of several. Optimizers come after it."""
        return losses

    @contextmanager
    def synchronised(self, losses: nn.Module, is_last: bool) -> Iterator[None]:
        """Around one micro-batch; after the last one gradients are sums over the processes."""
        yield

    def inside(self, losses: nn.Module, work: Callable[[], T]) -> T:
        """The result of `work`, which calls the wrapped model but for a training step."""
        return work()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` over the processes, the same bits in all."""
        return values.clone()

    def broadcast(self, value: T) -> T:
        """The first process's `value`: small, of plain Python or NumPy."""
        return value

    def barrier(self) -> None:
        """Wait until all processes are here."""


ONE_PROCESS = Processes()


class Replicated(Processes):
    """A whole model in each process, whose gradients are summed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank = dist.get_rank()
        self.count = dist.get_world_size()

    def wrap(self, losses: nn.Module) -> nn.Module:
        # With the search for unused weights the order of sums stays as it was at the first step,
        # which a restart with the same bits needs; and a weight that no loss reaches is no error.
        # torch says once that the search costs time: some milliseconds of a step.
        options: dict[str, Any] = {_BUFFERS: False, "find_unused_parameters": True}
        wrapped = DistributedDataParallel(losses, gradient_as_bucket_view=True, **options)
        # A lambda, because DDP refuses a function whose annotations are kept as text.
        wrapped.register_comm_hook(None, lambda state, bucket: _sum_of_gradients(bucket))
        return wrapped

    @contextmanager
    def synchronised(self, losses: nn.Module, is_last: bool) -> Iterator[None]:
        if is_last:
            yield
        else:
            with cast(DistributedDataParallel, losses).no_sync():
                yield

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    def broadcast(self, value: T) -> T:
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        return cast(T, box[0])

    def barrier(self) -> None:
        dist.barrier()


def _sum_of_gradients(bucket: Any) -> torch.futures.Future[torch.Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    summed: torch.futures.Future[torch.Tensor] = work.get_future().then(lambda f: f.value()[0])
    return summed


class Sharded(Replicated):
    """A part of each weight in each process; a block's weights are whole while it is at work.

    A model can be wrapped once.

    Gradients are summed after each micro-batch, since each process would hold all of them else.
    """

    def wrap(self, losses: nn.Module) -> nn.Module:
        with torch.no_grad():  # start from the first process's values, as the other kind does
            for tensor in (*losses.parameters(), *losses.buffers()):
                dist.broadcast(tensor, src=0)
        # T5's blocks return views, which nothing changes in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
        options: dict[str, Any] = {
            "mesh": init_device_mesh(self.device.type, (self.count,)),
            "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32),
        }
        for block in _blocks(losses):
            fully_shard(block, **options)
        root = _Root(losses)
        fully_shard(root, **options)
        for module in root.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        return root

    @contextmanager
    def synchronised(self, losses: nn.Module, is_last: bool) -> Iterator[None]:
        yield

    def inside(self, losses: nn.Module, work: Callable[[], T]) -> T:
        result: T = losses(work=work)
        cast(FSDPModule, losses).reshard()  # without a backward pass it would stay whole
        return result


class _Root(nn.Module):
    """Whatever is called through it sees the weights outside the blocks whole."""

    def __init__(self, losses: nn.Module) -> None:
        super().__init__()
        self.losses = losses

    def forward(self, *arguments: Any, work: Callable[[], Any] | None = None) -> Any:
        return self.losses(*arguments) if work is None else work()


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The repeated parts of a network: the members of its outermost lists of modules."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


KINDS: dict[str, type[Replicated]] = {"ddp": Replicated, "fsdp": Sharded}


@contextmanager
def processes_from_environment(
    kind: str = "ddp", *, timeout: float = TIMEOUT
) -> Iterator[Processes]:
    """The processes that a launcher started (by WORLD_SIZE and the like), else this one alone.

    They speak by gloo on processors and by NCCL on GPUs (device `LLMOS_DEVICE`, else as PyTorch
    finds). Raises `UsageError` when they cannot find one another, and `TrainingError` where one
    ends early or is silent for `timeout` seconds.
    """
    if kind not in KINDS:
        raise UsageError(f"no kind of processes is called {kind!r}: choose {' or '.join(KINDS)}")
    count = _number("WORLD_SIZE", 1)
    if count == 1:
        yield ONE_PROCESS
        return
    device = _device(count)
    wait = timedelta(seconds=timeout)
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            # A name of its own for each group, since the store keeps what an earlier one left.
            store=PrefixStore(f"llmos-{next(_GROUPS)}", _store(wait)),
            rank=_number("RANK"),
            world_size=count,
            timeout=wait,
            device_id=device if device.type == "cuda" else None,
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"{count} processes could not find one another ({_first_line(error)}): start them "
            "with torchrun, and let MASTER_ADDR and MASTER_PORT be reached from every machine"
        ) from error
    failed = True
    try:
        yield KINDS[kind](device)
        failed = False
    except RuntimeError as error:
        if not _LOST.search(f"{type(error).__name__} {error}"):
            raise
        raise TrainingError(
            f"process {dist.get_rank()} of {count} (from 0) lost another ({_first_line(error)}): "
            "the one that ended first says why; start all again to go on from the last checkpoint"
        ) from error
    finally:
        if not failed or device.type == "cpu":  # NCCL would wait here for those that are lost
            dist.destroy_process_group()


# What gloo and NCCL say of a process that ended or is silent; gloo's errors have no type of theirs.
_LOST = re.compile(r"gloo|NCCL|pair closure|^Dist\w*Error|[Cc]onnection (closed|reset|refused)")
_GROUPS = itertools.count()
_STORES: dict[tuple[str, ...], Store] = {}
_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers"  # its name before torch 2.13
)


def _store(wait: timedelta) -> Store:
    """Where the processes find one another: one for each address, for as long as this one lives."""
    address = tuple(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
    if address not in _STORES:
        _STORES[address] = next(rendezvous("env://", timeout=wait))[0]
    return _STORES[address]


def _device(count: int) -> torch.device:
    """This process's device, made the current one; on processors, its share of the threads."""
    here = _number("LOCAL_WORLD_SIZE", count)
    device = torch.device(default_device())
    if device.type == "cuda":
        local, found = _number("LOCAL_RANK"), torch.cuda.device_count()
        if device.index is not None or local >= found:
            raise UsageError(
                f"{here} processes on this machine, but it has {found} GPUs and LLMOS_DEVICE is "
                f"{os.environ.get('LLMOS_DEVICE', 'not set')}: start one process for each GPU, "
                "with LLMOS_DEVICE=cuda or none"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise UsageError(
            f"several processes cannot train on {device.type}: set LLMOS_DEVICE to cpu or cuda, "
            "or start one process"
        )
    elif os.environ.get("OMP_NUM_THREADS", "1") == "1":
        # That is torchrun's choice for all who made none.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // here))
    return device


def _number(name: str, default: int | None = None) -> int:
    """The whole number in an environment variable."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise UsageError(
            f"the environment variable {name} is {text!r} instead of a number: start the processes "
            "with torchrun"
        )
    return int(text)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\[.*?\] |\. This is typically caused.*", "", lines[0])[:200]
