"""One-time keys and sessions, by the clock."""

from __future__ import annotations

from twochannel.pages.access import (
    KEY_LIFETIME_S,
    MAX_KEYS,
    MAX_SESSIONS,
    SESSION_LIFETIME_S,
    Access,
    Pass,
    form_token,
)


class Kept:
    def __init__(self) -> None:
        self.sessions: list[Pass] = []
        self.access = Access([], self.keep)

    def keep(self, sessions: list[Pass]) -> None:
        self.sessions = list(sessions)


def test_a_key_opens_one_session_once() -> None:
    access = Kept().access
    access.invite("key", 0)
    assert access.redeem("key", "mine", 1)
    assert not access.redeem("key", "another", 1)
    assert access.admits("mine", 1)
    assert not access.admits("another", 1)


def test_a_key_that_was_never_given_out_opens_nothing() -> None:
    kept = Kept()
    kept.access.invite("key", 0)
    assert not kept.access.redeem("", "mine", 0)
    assert not kept.access.redeem("kez", "mine", 0)
    assert kept.sessions == []


def test_keys_and_sessions_end() -> None:
    access = Kept().access
    access.invite("late", 0)
    access.invite("key", 1)
    assert not access.redeem("late", "mine", KEY_LIFETIME_S)
    assert access.redeem("key", "mine", KEY_LIFETIME_S)
    ends_s = KEY_LIFETIME_S + SESSION_LIFETIME_S
    assert access.admits("mine", ends_s - 1)
    assert not access.admits("mine", ends_s)


def test_sessions_outlive_the_agent_and_their_secrets_are_not_kept() -> None:
    kept = Kept()
    kept.access.invite("key", 0)
    kept.access.redeem("key", "mine", 0)
    assert "mine" not in repr(kept.sessions)
    assert Access(kept.sessions, kept.keep).admits("mine", 1)


def test_too_many_end_the_oldest() -> None:
    kept = Kept()
    for number in range(MAX_KEYS + 1):
        kept.access.invite(f"key-{number}", 0)
    assert not kept.access.redeem("key-0", "mine", 0)
    for number in range(MAX_SESSIONS + 1):
        kept.access.invite("key", 0)
        assert kept.access.redeem("key", f"session-{number}", 0)
    assert not kept.access.admits("session-0", 0)
    assert kept.access.admits(f"session-{MAX_SESSIONS}", 0)
    assert len(kept.sessions) == MAX_SESSIONS


def test_a_form_s_token_is_its_session_s_alone_and_does_not_tell_it() -> None:
    assert form_token("mine") != form_token("yours")
    assert "mine" not in form_token("mine")
