"""Worker pools between runs: the ones last used are kept."""

from __future__ import annotations

import pytest

from micropolis import workers


def test_the_pool_last_used_is_the_one_kept():
    made = {}
    for threads in range(11, 11 + workers.MOST_IDLE + 2):
        with workers.pool(threads) as executor:
            made[threads] = executor
    assert len(workers._idle) == workers.MOST_IDLE
    with workers.pool(threads) as again, workers.pool(threads) as other:
        assert again is made[threads] and other is not again
    with workers.pool(11) as first:
        assert first is not made[11]
        assert first.submit(abs, -1).result() == 1
    with pytest.raises(RuntimeError, match="shutdown"):
        made[11].submit(abs, -1)


def test_a_pool_given_up_is_not_used_again():
    with workers.pool(3) as executor:
        workers.give_up(executor)
    with workers.pool(3) as other:
        assert other is not executor
    with pytest.raises(KeyError), workers.pool(3) as third:
        raise KeyError
    with workers.pool(3) as fourth:
        assert fourth is not third
