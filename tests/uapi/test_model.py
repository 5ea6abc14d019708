"""Random sequences of requests, against a small obvious model."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uapi.control import ZERO, new_keys
from uapi.device import Device
from uapi.model import Edit, Model, Request

PAIRS = [new_keys() for _ in range(2)]
KEYS = [public for _, public in PAIRS] + [new_keys()[1] for _ in range(2)]
"""Few, so that requests are about the same peers; two are the public keys of the private ones."""

IPV4 = ("0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/8", "10.1.0.0/16", "10.1.2.3/32")
IPV6 = ("::/0", "2001:db8::/32", "2001:db8::1/64", "2001:db8::1/128")

keys = st.sampled_from(KEYS)
prefixes = st.sampled_from([*IPV4, *IPV6])
edits = st.builds(
    Edit,
    key=keys,
    remove=st.sampled_from([False, False, False, True]),
    update_only=st.sampled_from([False, False, True]),
    preshared_key=st.sampled_from([None, None, ZERO, *KEYS]),
    endpoint=st.sampled_from([None, None, "192.0.2.7:51820", "[2001:db8::7]:1"]),
    persistent_keepalive=st.sampled_from([None, None, 0, 1, 65535]),
    replace_allowed_ips=st.booleans(),
    allowed_ips=st.lists(
        st.tuples(st.sampled_from([False, False, True]), prefixes), max_size=4
    ).map(tuple),
)
requests = st.builds(
    Request,
    private_key=st.sampled_from([None, None, ZERO, *(private for private, _ in PAIRS)]),
    fwmark=st.sampled_from([None, 0, 7, 0xFFFFFFFF]),
    replace_peers=st.sampled_from([False, False, False, True]),
    peers=st.lists(edits, max_size=4).map(tuple),
    bad_line=st.sampled_from([None, None, None, "unknown=1", "nonsense", "public_key=1"]),
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(requests, min_size=1, max_size=8))
def test_a_device_does_what_the_model_does(shared_device: Device, sequence: list[Request]) -> None:
    shared_device.reset()
    model = Model(keeps_endpoints=shared_device.is_ours)
    with shared_device.control() as control:
        for request in sequence:
            if request.bad_line is not None and not shared_device.is_ours:
                continue  # it applies what is before the bad line
            assert (control.set(*request.lines()) < 0) == (request.bad_line is not None)
            model.apply(request)
            model.check(control.get())
