"""What a rank's log says when memory, an Ascend card or the link between cards failed it.

One table, causes before what they lead to: of several rows that fit a log, the first one counts.
None of this can be provoked without cards; the texts are from MindSpore 2.10's libraries, Huawei's
list of error codes and public issues, named at each row, where tests take their logs from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONGEST_QUOTE = 140
# Codes in a line that calls them so; else any long number would fit.
_CODE = r"(?:error code(?: is)?|runtime result|retCode|ret code)\s*[:=]?\s*"


@dataclass(frozen=True)
class Fault:
    """Describes one fault: how a log shows it, and what is to be done.

    Attributes:
        pattern: fits the line of the log that tells it.
        what: to be read after "on rank 1: ".
        retryable: whether the same may succeed later with nothing changed.
        remedy: what a person can do.
        memory: whether memory ran out, the machine's error.
        of_peer: whether the log's rank only waited for another one, which is to blame.
    """

    pattern: re.Pattern[str]
    what: str
    retryable: bool
    remedy: str
    memory: bool = False
    of_peer: bool = False


def _row(pattern: str, what: str, retryable: bool, remedy: str, **more: bool) -> Fault:
    return Fault(re.compile(pattern), what, retryable, remedy, **more)


_LESS = "lower devices.micro_batch or devices.ranks"

FAULTS = (
    # hiascend.com, EI0004 Invalid Ranktable Configuration.
    _row(
        r"EI0004|The ranktable or rank is invalid",
        "the cards' configuration (rank table) does not fit",
        False,
        "correct it as the log says",
    ),
    # libmindspore_ms_backend, _memory_pool, _ascend_res_manager of 2.10; candle-org/MindAct#1761;
    # mindspore-lab/mindone#820.
    _row(
        r"Memory not enough:|memory isn't enough and alloc failed|Out of Memory!!!"
        r"|Allocate memory failed|alloc size ?: ?\d+ is more than total mem size",
        "the device's memory is used up",
        False,
        _LESS,
        memory=True,
    ),
    # hiascend.com, EL0004 Memory_Allocation_Failure; PKU-YuanGroup/Helios#62. 207001:
    # ACL_ERROR_RT_MEMORY_ALLOCATION of acl/error_codes/rt_error_codes.h, as the other numbers.
    _row(
        rf"EL0004|Failed to allocate memory requested by|{_CODE}207001\b",
        "the device's memory is used up",
        False,
        f"{_LESS}, or end what else uses the card (npu-smi info)",
        memory=True,
    ),
    # The C++ library's; MindSpore's data pipeline: mindspore-ai/mindspore#172.
    _row(
        r"std::bad_alloc|Out of memory\. Memory malloc failed|Cannot allocate memory",
        "this machine's memory is used up",
        False,
        _LESS,
        memory=True,
    ),
    # ACL_ERROR_RT_DEVICE_MEM_ERROR and _HBM_MULTI_BIT_ECC_ERROR, which MindSpore's symbol_utils.h
    # calls UCEError.
    _row(
        rf"{_CODE}50705[345]\b|\bUCE [Ee][Rr][Rr][Oo][Rr]\b|[Mm]ulti-?[ _]?bit ECC",
        "the card's memory lost bits (uncorrectable ECC error)",
        True,
        "if it comes again, take the card out of use",
    ),
    # vllm-project/vllm-ascend#8186: 507010 is ACL_ERROR_RT_LOST_HEARTBEAT.
    _row(
        rf"{_CODE}507010\b|lost heartbeat",
        "the card stopped answering (heartbeat lost)",
        True,
        "if it comes again, look at npu-smi info and reset the card",
    ),
    # hiascend.com, EL0001 Device_Absent/Abnormal; the same issue.
    _row(
        r"EL0001|Device not found or invalid|driver error:no valid device",
        "the card is not there",
        False,
        "look at npu-smi info; reset the card or lower devices.ranks",
    ),
    # vllm-project/vllm-ascend#1815; 507056 is ACL_ERROR_RT_LINK_ERROR.
    _row(
        rf"EJ0002|The network port is down|{_CODE}507056\b",
        "a network port or link between cards is down",
        True,
        "if it comes again, look at hccn_tool -i N -link -g",
    ),
    # hiyouga/LlamaFactory#3839: wait 10 s after killing the last training.
    _row(
        r"EJ0001|Failed to initialize the HCCP process",
        "the card is still held by the training before",
        True,
        "if it comes again, end what else uses the card",
    ),
    # mindspore-lab/mindone#269, vllm-project/vllm-ascend#2763. 507014 and 507034 are time-outs,
    # 507015 and 507035 exceptions of the two kinds of cores.
    _row(
        rf"{_CODE}5070(?:14|15|34|35)\b|aicore exception|vector core exception"
        r"|there is an? (?:exception of )?(?:aicore|aivec|fftsplus aicore) error",
        "an operator failed on the card (AI core exception)",
        True,
        "if it comes again at the same step, report it with the log",
    ),
    # candle-org/MindAct#1752; mindspore-lab/mindocr#615 names a CANN of another version as cause.
    _row(
        rf"{_CODE}5070(?:17|18)\b|aicpu exception|exception occurred during AICPU execution",
        "an operator failed on the card (AI CPU exception)",
        True,
        "if it comes again, check that CANN's version fits MindSpore's",
    ),
    # vllm-project/vllm-ascend#116, Ascend/pytorch#166.
    _row(
        rf"{_CODE}507049\b|there is a (?:fftsplus )?sdma error",
        "copying on or between cards failed (SDMA error)",
        True,
        "if it comes again, look at npu-smi info",
    ),
    # hiascend.com, EI0002 Communication Operation Timeout; vllm-project/vllm-ascend#3413 and #486
    # (EI0006), #3162 (EI0009). Ascend/pytorch#48: 507046, #43: 107020; vllm-ascend#1443: 507048.
    _row(
        r"EI0002|EI0006|EI0009|Notify register times out|Getting socket times out"
        rf"|Transport init error|{_CODE}(?:107020|50704[68])\b",
        "it waited in vain for another rank",
        True,
        "look at the other ranks' logs first",
        of_peer=True,
    ),
    # mindspore/ccsrc/cluster/init.cc of 2.10, seen where another host was lost while ranks joined.
    _row(
        r"Failed to initialize distributed job cluster",
        "the ranks did not all join",
        True,
        "look at the other ranks' logs first",
        of_peer=True,
    ),
    # ACL_ERROR_RT_DEVICE_TASK_ABORT and _COMM_OP_RETRY_FAIL, which MindSpore's symbol_utils.h
    # handles: what follows a fault elsewhere.
    _row(
        rf"{_CODE}(?:107022|507904|507057)\b",
        "its work on the card was aborted because of another fault",
        True,
        "look at the other ranks' logs first",
        of_peer=True,
    ),
    # mindspore-ai/mindspore#319 and many more: says that something failed below, not what.
    _row(
        r"\bE[A-Z]9999\b|\bE[0-9]9999\b|[Hh][Cc][Cc][Ll] (?:function )?error",
        "the card's software reports an inner error",
        True,
        "if it comes again at the same step, report it with the log",
    ),
)

_REMOTE_RANK = re.compile(r"remote rank ?:? ?\[(\d+)\]")
# 4294967295 is no rank: hiyouga/LlamaFactory#975.
_MOST_RANKS = 1 << 20


def fault_in(log: str) -> tuple[Fault, str] | None:
    """Finds the first row of FAULTS that fits a log.

    Args:
        log: its text.

    Returns:
        The row, and the line that it fits, cut to what identifies it; None if no row fits.
    """
    for fault in FAULTS:
        found = fault.pattern.search(log)
        if found:
            start = log.rfind("\n", 0, found.start()) + 1
            line = log[start:].partition("\n")[0]
            # What the pattern fits may stand far to the right in a long line.
            skipped = max(0, found.start() - start - _LONGEST_QUOTE // 2)
            return fault, " ".join(line[skipped : skipped + _LONGEST_QUOTE].split())
    return None


def awaited_rank(log: str) -> str | None:
    """Finds the rank that a log of HCCL names as the one that it waited for; None if it names none.

    Args:
        log: its text.
    """
    for found in _REMOTE_RANK.finditer(log):
        if int(found[1]) < _MOST_RANKS:
            return found[1]
    return None
