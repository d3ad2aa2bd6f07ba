"""Random bits: the cipher, who gets which words, and that nothing but the place decides them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from levyjax.random import Counter, Stream, run_key, words
from levyjax.random.streams import MAX_COORDINATES, MAX_STEPS, low_words, trajectory_key
from levyjax.random.threefry import threefry2x32

TOP = 0xFFFFFFFF


def counter_of(key: int, step, size: int = 1) -> Counter:
    """Steps given as Python or NumPy integers of up to 64 bits."""
    step = np.broadcast_to(np.asarray(step, np.uint64), np.shape(step) or (size,))
    low, high = (step & np.uint64(TOP)).astype(np.uint32), (step >> np.uint64(32)).astype(np.uint32)
    key0, key1 = (jnp.full(step.shape, half, jnp.uint32) for half in (key >> 32, key & TOP))
    return Counter(key0, key1, jnp.asarray(low), jnp.asarray(high))


def as_64_bits(pair) -> np.ndarray:
    return (np.asarray(pair[0]).astype(np.uint64) << np.uint64(32)) | np.asarray(pair[1])


class TestCipher:
    @pytest.mark.parametrize(
        ("key", "counter", "expected"),
        [
            ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
            ((TOP, TOP), (TOP, TOP), (0x1CB996FC, 0xBB002BE7)),
            ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
        ],
    )
    def test_known_answers_of_random123(self, key, counter, expected):
        assert tuple(map(int, threefry2x32(*map(jnp.uint32, key + counter)))) == expected

    def test_is_the_cipher_of_jax(self):
        bits = jax.random.bits(jax.random.key(0), (2, 10_000), jnp.uint32)
        for key in ((1, 2), (TOP, 0), (0xDEADBEEF, 0x12345678)):
            key = tuple(map(jnp.uint32, key))
            ours = threefry2x32(*key, bits[0], bits[1])
            # jax takes a flat array whose halves are the two counter words
            theirs = threefry_2x32(jnp.stack(key), bits.reshape(-1)).reshape(2, -1)
            np.testing.assert_array_equal(np.stack(ours), theirs)

    def test_rounds_are_the_ones_asked_for(self):
        zero = jnp.uint32(0)
        results = {tuple(map(int, threefry2x32(zero, zero, zero, zero, rounds=n))) for n in (4, 8, 12, 16, 20)}
        assert len(results) == 5


class TestRunKey:
    @pytest.mark.parametrize(("seed", "halves"), [(0, (0, 0)), (7, (0, 7)), (2**32, (1, 0)), (2**64 - 1, (TOP, TOP))])
    def test_seeds(self, seed, halves):
        assert tuple(map(int, run_key(seed))) == halves

    def test_numpy_seeds(self):
        for seed in (np.uint64(2**63 + 5), np.int32(5), np.uint8(5)):
            assert tuple(map(int, run_key(seed))) == (int(seed) >> 32, 5)

    def test_typed_legacy_and_plain_words_agree(self):
        typed, legacy = jax.random.key(123), jax.random.PRNGKey(123)
        for key in (typed, legacy, np.asarray(legacy)):
            assert tuple(map(int, run_key(key))) == (0, 123)

    @pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
    def test_rbg_keys_keep_all_of_their_words(self, kind):
        keys = [jax.random.key(5, impl=kind), jax.random.key(6, impl=kind)]
        keys += list(jax.random.split(keys[0], 3))
        found = {tuple(map(int, run_key(key))) for key in keys}
        assert len(found) == len(keys)

    def test_inside_transformations(self):
        keys = jax.random.split(jax.random.key(1), 4)
        together = jax.jit(jax.vmap(lambda key: jnp.stack(run_key(key))))(keys)
        np.testing.assert_array_equal(together, np.stack([np.stack(run_key(key)) for key in keys]))

    @pytest.mark.parametrize("bad", [-1, 2**64, "key", 0.5, None, (1, 2), np.zeros(3, np.uint32), np.zeros(2, int)])
    def test_others_are_refused(self, bad):
        with pytest.raises(ValueError, match=r"^(key|seed) must be .*, got .*\.$"):
            run_key(bad)

    def test_several_keys_at_once_are_refused(self):
        with pytest.raises(ValueError, match=r"^key must be an integer seed or one"):
            run_key(jax.random.split(jax.random.key(0), 2))


class TestWords:
    def test_no_two_places_share_words(self):
        """A million places: trajectories x steps (both sides of 2^32, and the last) x all eight streams x coordinates.

        For one trajectory a collision is impossible (the cipher is a permutation for each key, the places are
        different counters); a million pairs under sixteen keys would collide with probability 3e-8.
        """
        around = [range(102)] + [range(middle - 51, middle + 51) for middle in (2**31, 2**32, 2**33, 2**38)]
        steps = np.array([*(step for part in around for step in part), MAX_STEPS - 2, MAX_STEPS - 1], np.uint64)
        assert np.unique(steps).size == steps.size
        place = counter_of(0, steps)
        ids = jnp.arange(16, dtype=jnp.uint32)[:, None]

        @jax.jit
        def all_streams(place: Counter) -> list:
            keys = trajectory_key(run_key(5), ids, jnp.zeros_like(ids))
            counter = Counter(*(jnp.broadcast_to(part, (16, 512)) for part in (*keys, place.low, place.high)))
            return [words(counter, 16, stream) for stream in range(8)]

        everything = np.concatenate([as_64_bits(pair).ravel() for pair in all_streams(place)])
        assert everything.size == 16 * 512 * 8 * 16
        assert np.unique(everything).size == everything.size

    def test_low_words_are_streams_of_their_own(self):
        counter = counter_of(9, np.arange(3))
        for stream in (Stream.NOISE, Stream.RADIUS, Stream.GRADIENT, Stream.GRADIENT + Stream.RADIUS):
            np.testing.assert_array_equal(low_words(counter, 2, stream), words(counter, 2, stream + 4))

    def test_steps_and_coordinates_at_the_ends_of_their_ranges(self):
        """The last coordinate does not run into the stream, nor the last step out of its word."""
        first, last = counter_of(1, 0), counter_of(1, MAX_STEPS - 1)
        assert int(last.high[0]) << (22 + 3) < 2**32
        tag = 127 << 25 | 7 << 22
        expected = threefry2x32(*map(jnp.uint32, (0, 1, TOP)), jnp.array([tag, tag | 1], jnp.uint32))
        np.testing.assert_array_equal(as_64_bits(words(last, 2, 7))[:, 0], as_64_bits(expected))
        ends = as_64_bits(jax.jit(lambda c: [word[-2:] for word in words(c, MAX_COORDINATES)])(first))
        expected = threefry2x32(*map(jnp.uint32, (0, 1, 0)), jnp.array([2**22 - 2, 2**22 - 1], jnp.uint32))
        np.testing.assert_array_equal(ends[:, 0], as_64_bits(expected))

    def test_different_trajectories_have_different_keys(self):
        low = jnp.arange(1 << 18, dtype=jnp.uint32)
        keys = [as_64_bits(trajectory_key(run_key(5), low, jnp.full_like(low, high))) for high in (0, 1)]
        assert np.unique(np.concatenate(keys)).size == 2 * low.size

    def test_bits_do_not_depend_on_the_batch(self):
        """Eager, jitted, mapped, alone, in two axes, in another order, among fewer coordinates: the same words."""
        counter = counter_of(3 << 32 | 4, np.arange(2**32 - 32, 2**32 + 32, dtype=np.uint64))
        eager = np.stack(words(counter, 3))
        np.testing.assert_array_equal(jax.jit(lambda c: jnp.stack(words(c, 3)))(counter), eager)
        mapped = jax.vmap(lambda c: jnp.stack(words(c, 3)), out_axes=-1)(counter)
        np.testing.assert_array_equal(mapped, eager)
        square = Counter(*(part.reshape(8, 8) for part in counter))
        np.testing.assert_array_equal(np.stack(words(square, 3)).reshape(eager.shape), eager)
        backwards = Counter(*(part[::-1] for part in counter))
        np.testing.assert_array_equal(np.stack(words(backwards, 3))[..., ::-1], eager)
        np.testing.assert_array_equal(np.stack(words(counter, 2)), eager[:, :2])
        for i in (31, 32):
            alone = words(Counter(*(part[i] for part in counter)), 3)
            np.testing.assert_array_equal(np.stack(alone), eager[..., i])

    def test_bits_are_fair(self, many):
        """Each of the 64 bits over 2^17 places, |z| < 5: false alarm 4e-5 in all."""
        ones, number = np.zeros(64), many << 17
        for part in range(many):
            pair = words(counter_of(8, (part << 15) + np.arange(1 << 15)), 4)
            ones += ((as_64_bits(pair).ravel()[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).sum(axis=0)
        assert np.abs(ones - number / 2).max() < 5 * np.sqrt(number) / 2

    def test_too_many_coordinates(self):
        with pytest.raises(ValueError, match=f"^At most {MAX_COORDINATES} coordinates"):
            words(counter_of(0, 0), MAX_COORDINATES + 1)
