"""How often a limit that is reached again and again is told."""

from wgbind.server.limits import Tally


def test_what_goes_on_is_told_once_a_minute_with_all_since() -> None:
    tally = Tally()
    assert tally.news(0, 0.0) == 0
    assert tally.news(3, 1.0) == 3
    assert tally.news(3, 2.0) == 0
    assert tally.news(10, 3.0) == 0
    assert tally.news(12, 60.9) == 0
    assert tally.news(12, 61.0) == 9
    assert tally.news(12, 200.0) == 0
    # The counter began anew: with another table of the firewall, or another device.
    assert tally.news(2, 201.0) == 2
