"""The contract suite of codecs: subclass it in a test module, and run pytest; it needs hypothesis.

::

    class TestMine(CodecContract):
        entry_point = "my_module:MyCodec"
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Final

import numpy as np
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline import plugins
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Codec, Limits
from pipeline.codecs.installed import load_codec
from pipeline.errors import BadRequest, NotRepresentable, RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import from_array
from pipeline.testing.codec_checks import Echo, changes, check_tensors, outcome, raised
from pipeline.testing.meters import at_most_more, counting_peak
from pipeline.testing.strategies import ERRORS, REQUESTS, RESULTS, damaged

_MIB: Final = 1 << 20
# Of a record of a few hundred bytes; a length that lies asks for gigabytes.
_MOST_ALLOCATED: Final = 4 * _MIB
_THREADS: Final = 8
_LIMITS: Final = Limits()
_AVRO: Final = AvroCodec()
# No claim is about time; and one fault at a time is enough.
_SETTINGS: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], report_multiple_bugs=False)


class CodecContract:
    """What every codec must do. Each test has a new one, made as a worker makes it.

    ``entry_point`` is what the package's entry point names. ``requests`` and ``results`` are those that the format has
    a form for: by default all, in every datatype and shape. A codec that leaves records without a content type to
    others sets ``is_recognised`` to False.
    """

    entry_point: ClassVar[str]
    requests: ClassVar[st.SearchStrategy[PredictRequest]] = REQUESTS
    results: ClassVar[st.SearchStrategy[PredictResult]] = RESULTS
    is_recognised: ClassVar[bool] = True

    def make_request(self, number: int) -> PredictRequest:
        """Return a request that the format has a form for, with two inputs at least; each number is another one."""
        rows = np.array([[number, 2], [3, 4]], np.float32)
        return PredictRequest(f"r{number}", inputs=(from_array("x", rows), from_array("y", rows[:, 0])))

    # -- its name -----------------------------------------------------------------------------------------------------

    def test_its_content_type_is_its_own(self) -> None:
        """In small letters, without parameters, and of no other codec that is installed."""
        mine = load_codec("under-test", [EntryPoint("under-test", self.entry_point, plugins.CODECS)])  # or PluginError
        for name, other in self._others().items():
            assert other.content_type != mine.content_type, f"its content type is that of {name!r}"

    def test_it_recognises_its_own_and_no_others(self) -> None:
        """By the first bytes; nothing is not recognised, and no bytes make it raise."""
        codec = self._codec()
        requests = [codec.encode_request(self.make_request(number)) for number in range(4)]
        for value in (*requests, codec.encode_result(self._result(0))):
            wrong = "its own records are not" if self.is_recognised else "is_recognised is False, and a record is"
            assert codec.recognises(value) is self.is_recognised, f"{wrong} recognised: {value[:20]!r}"
        assert codec.recognises(b"") is False, "a record without a value is recognised"
        plain = PredictRequest("r", inputs=(from_array("x", np.zeros(1, np.float32)),))
        for name, other in self._others().items():
            with contextlib.suppress(NotRepresentable):
                value = other.encode_request(plain)
                is_free = not other.recognises(value)
                assert is_free or not codec.recognises(value), f"a request of {name!r} is recognised"

        @_SETTINGS
        @given(st.binary(max_size=40))
        def check(value: bytes) -> None:
            answer = codec.recognises(value)
            assert type(answer) is bool, f"True or False was expected, got {answer!r}"

        check()

    # -- there and back -----------------------------------------------------------------------------------------------

    def test_requests_come_back_equal(self) -> None:
        """Those of ``requests``, every field of them."""
        codec = self._codec()

        @_SETTINGS
        @given(self.requests)
        def check(request: PredictRequest) -> None:
            back = codec.decode_request(codec.encode_request(request), _LIMITS)
            assert back == request, f"{request} came back as {back}"

        check()

    def test_results_come_back_equal(self) -> None:
        """Those of ``results``, every field of them."""
        codec = self._codec()

        @_SETTINGS
        @given(self.results)
        def check(result: PredictResult) -> None:
            back = codec.decode_result(codec.encode_result(result))
            assert back == result, f"{result} came back as {back}"

        check()

    def test_an_error_is_a_result(self) -> None:
        """Whatever its text is: its requester hears that there was one, if the format has no form for more."""
        codec = self._codec()

        @_SETTINGS
        @given(ERRORS)
        def check(result: PredictResult) -> None:
            back = codec.decode_result(codec.encode_result(result))
            assert back.error is not None, f"{result.error} came back as a result without an error"

        check()

    def test_what_has_no_form_is_not_representable(self) -> None:
        """Any request and any outputs are written, or refused by NotRepresentable."""
        codec = self._codec()

        @_SETTINGS
        @given(REQUESTS, RESULTS)
        def check(request: PredictRequest, result: PredictResult) -> None:
            writes: list[tuple[Callable[[Any], bytes], Any]] = [
                (codec.encode_request, request), (codec.encode_result, result),
            ]  # fmt: skip
            for write, record in writes:
                try:
                    value = write(record)
                except NotRepresentable:
                    continue
                assert type(value) is bytes, f"bytes were expected, got {type(value).__name__}"

        check()

    # -- whatever comes -----------------------------------------------------------------------------------------------

    def test_any_bytes_are_a_request_or_a_bad_request(self) -> None:
        """Random ones, and records of its own with damage; what is returned fits the schema of a request."""
        codec = self._codec()
        own = self.requests.map(codec.encode_request)

        @_SETTINGS
        @given(st.binary(max_size=300) | damaged(own))
        def check(value: bytes) -> None:
            try:
                request = codec.decode_request(value, _LIMITS)
            except BadRequest:
                return
            check_tensors(request.inputs)
            again = _AVRO.decode_request(_AVRO.encode_request(request), _LIMITS)
            assert again == request, f"{request} has fields that are not as they are declared"

        check()

    def test_any_bytes_are_a_result_or_undecodable(self) -> None:
        """Likewise; a client reads what anybody may have written to a result topic."""
        codec = self._codec()
        own = self.results.map(codec.encode_result)

        @_SETTINGS
        @given(st.binary(max_size=300) | damaged(own))
        def check(value: bytes) -> None:
            try:
                result = codec.decode_result(value)
            except Undecodable:
                return
            check_tensors(result.outputs)
            again = _AVRO.decode_result(_AVRO.encode_result(result))
            assert again == result, f"{result} has fields that are not as they are declared"

        check()

    def test_limits_hold(self) -> None:
        """Of bytes and of tensors; a request that is as large as they allow is read."""
        codec, request = self._codec(), self.make_request(0)
        value, count = codec.encode_request(request), len(request.inputs)
        assert codec.decode_request(value, Limits(len(value), count)).inputs, (
            "a request within its limits has no inputs"
        )
        for limits, expected in (
            (Limits(len(value) - 1), RecordTooLarge),
            (Limits(len(value), count - 1), TooManyTensors),
        ):
            error = raised(codec.decode_request, value, limits)
            assert isinstance(error, expected), f"expected {expected.__name__} within {limits}, got {error!r}"

    def test_lengths_that_lie_cost_no_memory(self) -> None:
        """Records with one byte changed, in every place: none takes more than its bytes account for."""
        codec = self._codec()
        reads: Mapping[str, tuple[Callable[[bytes], object], bytes]] = {
            "request": (
                lambda value: codec.decode_request(value, Limits(_MIB)),
                codec.encode_request(self.make_request(0)),
            ),
            "result": (codec.decode_result, codec.encode_result(self._result(0))),
        }
        for what, (read, value) in reads.items():
            read(value)  # whatever is made once is not counted
            places = changes(value)
            with at_most_more(2048 * _MIB), counting_peak() as peak_bytes:
                for place, byte in places:
                    changed = b"%b%c%b" % (value[:place], byte, value[place + 1 :])
                    error = raised(read, changed)
                    said = f"a {what} of {len(value)} bytes, byte {place} set to {byte:#04x}"
                    assert error is None or isinstance(error, BadRequest), f"{said}: raised {error!r}"
                    peak = peak_bytes()
                    assert peak < _MOST_ALLOCATED, f"{said}: took {peak} bytes"

    # -- any thread, in any order -------------------------------------------------------------------------------------

    def test_threads_do_not_mix_their_records(self) -> None:
        """Eight at once get what each gets alone."""
        codec = self._codec()
        requests = [self.make_request(number) for number in range(64)]
        results = [self._result(number) for number in range(64)]

        def there_and_back(number: int) -> tuple[PredictRequest, PredictResult]:
            value = codec.encode_request(requests[number])
            return codec.decode_request(value, _LIMITS), codec.decode_result(codec.encode_result(results[number]))

        alone = [there_and_back(number) for number in range(64)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for number, got in enumerate(pool.map(there_and_back, [*range(64)] * 8)):
                assert got == alone[number % 64], f"request {number % 64} came back as another one"

    def test_what_was_read_before_changes_nothing(self) -> None:
        """A codec that has read many records reads the next as a new one does, whole or damaged."""
        codec = self._codec()

        @_SETTINGS
        @given(
            st.lists(
                self.requests.map(codec.encode_request) | damaged(self.requests.map(codec.encode_request)), max_size=4
            )
        )
        def check(values: list[bytes]) -> None:
            fresh = self._codec()
            for value in values:
                assert outcome(codec, value) == outcome(fresh, value), "two codecs read one record differently"

        check()

    # -- in a worker --------------------------------------------------------------------------------------------------

    def test_a_request_is_answered_in_its_own_format(self) -> None:
        """Outputs or an error, by a route that finds the codec by the content type; garbage becomes a dead letter."""
        codec, request = self._codec(), self.make_request(7)
        value = codec.encode_request(request)
        codecs, name = (_AVRO, codec), codec.content_type
        answer = Echo(request).answer(value, codecs, name)
        result = codec.decode_result(answer.value)
        assert result.error is None, f"the answer is {result.error}"
        assert [it.data for it in result.outputs] == [it.data for it in request.inputs], "the outputs came back changed"
        named = dict(answer.headers).get("content-type")
        assert named == codec.content_type.encode(), f"the answer says that it is {named!r}"
        failed = Echo(request, is_failing=True).answer(value, codecs, name)
        assert codec.decode_result(failed.value).error is not None, "a model that failed is answered without an error"
        cuts = (value[:length] for length in range(1, len(value)))
        garbage = [cut for cut in cuts if outcome(codec, cut) == Undecodable.code]
        for cut in garbage[:1]:  # there is none where any bytes are a request
            refused = Echo(request).answer(cut, codecs, name)
            assert codec.decode_result(refused.value).error is not None, "garbage is answered without an error"
            assert refused.dead_letter is not None, "garbage is no dead letter"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _codec(self) -> Codec:
        codec: Codec = EntryPoint("under-test", self.entry_point, plugins.CODECS).load()()
        return codec

    def _others(self) -> dict[str, Codec]:
        """Return those that are installed and have another entry point, by name; an extra of theirs may be missing."""
        installed = entry_points(group=plugins.CODECS)
        return {it.name: load_codec(it.name, [it]) for it in installed if it.value != self.entry_point}

    def _result(self, number: int) -> PredictResult:
        return PredictResult(f"r{number}", "adder", 1, self.make_request(number).inputs)
