"""A walk over a pickle's instructions that follows none of them, and refuses what weights do not
need; plain Python."""

import pickletools

MAX_STEPS = 1_000_000  # an instruction of one byte can take 200 bytes of memory
MAX_INT = 2**61 - 1  # from here on whole numbers can share their hash with others

# What Python 3 writes for lists, tuples, dictionaries, numbers, strings, bytes, and objects made by
# a function. Not among them: sets, persistent ids, the registry of extensions, instances of old
# classes, Python 2's strings.
_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND
    APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE
    GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD
""".split()
)

# What may be a dictionary's key: of these few can share a hash. With many that do, Python searches
# for minutes.
_KEYS = {"str", "int", "int_or_bool", "bool", "float", "None", "bytes"}


class Refused(ValueError):
    """A reason to read no further; it goes on behind the name of the file."""

    @classmethod
    def for_name(cls, module, name):
        """That the file names this function.

        Example:
            >>> str(Refused.for_name("os", "system"))[:28]
            'names the function os.system'
        """
        return cls(
            f"names the function {shown(f'{module}.{name}')}, which is not among those that a file of weights "
            "needs; it was not run. Do not use this file."
        )


def shown(text):
    """What a stranger wrote, short and without control characters.

    Example:
        >>> shown("\\x1b[31m red")
        '\\\\x1b[31m red'
    """
    text = ascii(str(text))[1:-1]
    return text if len(text) <= 100 else text[:100] + "..."


def check_instructions(data, is_known):
    """Walks over the whole pickle; that follows no instruction, but checks that each one's bytes
    are there.

    Args:
        data: bytes.
        is_known: function of a module's and a function's name: whether the file may name it. Names
            that come from the stack are for the unpickler to check.

    Raises:
        Refused: there is something that weights do not need.
        ValueError, and others of `pickletools`: damaged.

    Example:
        >>> import pickle
        >>> check_instructions(pickle.dumps({"step": 3}), is_known=lambda module, name: False)
    """
    stack, frame_end = _Kinds(), None
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = argument.partition(" ")
            if not is_known(module, name):
                raise Refused.for_name(module, name)
        if opcode.name not in _OPCODES:
            raise Refused(
                f"has the instruction {opcode.name}, which is not among those that a file of weights needs; "
                "nothing was run. Do not use this file."
            )
        if count >= MAX_STEPS:
            raise Refused(
                f"has more than {MAX_STEPS:,} instructions, which no file of weights needs"
            )
        # Python's unpickler grows its table of remembered values to the number that is asked for.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= argument <= count:
            raise Refused(
                f"remembers its value number {shown(argument)} after {count} instructions, which no pickler "
                "writes"
            )
        frame_end = _check_frame(opcode, argument, position, frame_end, len(data))
        stack.follow(opcode, argument)
    if position + 1 != len(data):
        raise Refused(
            f"goes on for {len(data) - position - 1:,} bytes behind its end; take another copy"
        )


def _check_frame(opcode, argument, position, end, length):
    """Where the frame ends that this instruction stands in or begins; frames hold whole
    instructions."""
    if end is not None and position > end:
        raise Refused("has a frame that ends inside of an instruction, which no pickler writes")
    if opcode.name != "FRAME":
        return end if end is None or position < end else None
    if argument > length - position:
        raise Refused(
            f"announces {argument:,} bytes where {length - position:,} are left; it is truncated: "
            "take another copy"
        )
    return position + 9 + argument


class _Kinds:
    """What kinds of values stand on the unpickler's stack, by the names that `pickletools` has for
    them."""

    def __init__(self):
        self._stack, self._memo = [], {}

    def follow(self, opcode, argument):
        if opcode.name == "SETITEM":
            self._check_keys(self._stack[-2:-1])
        if opcode.name in ("SETITEMS", "DICT"):
            self._check_keys(self._stack[self._mark() + 1 :: 2])
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif opcode.name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        else:
            self._move(opcode)
            if opcode.name in ("INT", "LONG", "LONG1", "LONG4") and abs(argument) >= MAX_INT:
                self._stack[-1] = "large int"

    def _move(self, opcode):
        taken = opcode.stack_before
        if pickletools.markobject in taken:
            del self._stack[self._mark() :]
            taken = taken[: taken.index(pickletools.markobject)]
        elif opcode.name == "POP" and self._stack:  # also of a mark
            taken = taken[:1]
        if len(taken) > len(self._stack):
            raise Refused("takes more values than it made")
        del self._stack[len(self._stack) - len(taken) :]
        self._stack.extend(kind.name for kind in opcode.stack_after)

    def _mark(self):
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] == "mark":
                return place
        raise Refused("asks for a mark that it did not set")

    def _check_keys(self, kinds):
        if not _KEYS.issuperset(kinds):
            raise Refused(
                "has a dictionary whose keys are neither strings nor numbers of at most 60 bits"
            )
