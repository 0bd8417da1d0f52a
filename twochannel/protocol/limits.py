"""Every limit of the protocol in one place, each with its reason (docs/protocol.md, Limits)."""

from __future__ import annotations

from typing import Final

#: The largest statement, a pairing acceptance, nests two others and stays under 4 KiB.
MAX_STATEMENT_BYTES: Final = 8 * 1024
#: No request body of the protocol needs more than a statement and its envelope.
MAX_BODY_BYTES: Final = 64 * 1024
#: A body that has not arrived by then is cut off: one byte a second must not hold a worker.
BODY_TIMEOUT_S: Final = 10.0
#: How long the owner has to answer: PSD2 lets five minutes pass, a queue of cars does not.
CHALLENGE_LIFETIME_S: Final = 60
#: A payment request waits no longer than its challenge.
REQUEST_LIFETIME_S: Final = 60
#: Proofs cover one HTTP request; a minute allows for a slow mobile network.
PROOF_LIFETIME_S: Final = 60
#: How far the clock of a device may be from the server's before it is told to correct it.
MAX_CLOCK_SKEW_S: Final = 60
#: An operator types or scans an enrolment code within this time.
ENROLMENT_CODE_LIFETIME_S: Final = 15 * 60
#: The pairing window: long enough to walk to the car's socket with a phone.
PAIRING_WINDOW_S: Final = 60
#: 128-bit claim secrets cannot be guessed in five tries; five allow for typing errors.
MAX_CLAIM_TRIES: Final = 5
#: Phones of one jack besides its owner's: a household, and few enough for one mDNS record.
MAX_MEMBERS: Final = 7
#: The jack remembers a lane nonce for one challenge lifetime.
LANE_NONCE_MEMORY_S: Final = 60.0
#: Ten times the lane frame's interval, with room for loss; longer would hold up a queue.
PRESENCE_WAIT_S: Final = 2.0
#: A time statement that took longer than this to arrive says too little about now.
MAX_TIME_ROUND_TRIP_S: Final = 10.0
#: A hold that was never captured is released after this time: card networks allow seven days.
HOLD_LIFETIME_S: Final = 7 * 24 * 3600
#: A processor that did not release an expired hold is asked again after this time.
HOLD_RELEASE_RETRY_S: Final = 24 * 3600
#: Statements in the evidence of one payment: a dozen partial refunds, each with its receipt, and
#: captures that the processor refused.
MAX_PAYMENT_STATEMENTS: Final = 100
#: The largest amount of one payment, in minor units of any currency: well inside 2^53.
MAX_AMOUNT_MINOR: Final = 10**12
#: `Prefer: wait=N` longer than this is shortened: proxies cut idle requests at 60 s.
MAX_WAIT_S: Final = 55
#: Nesting of JSON that any statement needs, plus one.
MAX_JSON_DEPTH: Final = 8
#: Over GATT: a statement with its request line, or the answer to a pairing, sealed; 16 KiB bound
#: what a stranger can make a jack keep.
MAX_RECORD_BYTES: Final = 16 * 1024
#: From the connection to the phone's first sealed record: two hellos and a request. Whoever takes
#: longer keeps the owner's phone out.
LINK_HANDSHAKE_S: Final = 5.0
#: Between two requests over GATT the phone asks the server for the time, over a slow network.
LINK_IDLE_S: Final = 10.0
#: A pairing at 20 bytes a packet takes ten seconds; nobody holds the only link for longer.
LINK_SESSION_S: Final = 30.0
#: How far a call's time may be from the jack's: the phone's offset is known to a few seconds.
MAX_CALL_SKEW_S: Final = 30
#: How long a jack that was called takes connections: a connection is given up after 10 s.
CALLED_S: Final = 12.0
#: Wi-Fi that has shown no sign of life by then gets GATT for company, within the 2 s promised.
WIFI_PATIENCE_S: Final = 1.5
#: Prompts of one jack that its owner did not approve, in their window: whoever is asked again and
#: again approves at last, only to be left alone.
MAX_PROMPTS: Final = 3
#: The window of prompts: an owner who says no three times has driven on by then.
PROMPT_WINDOW_S: Final = 5 * 60
#: Prompts of one terminal that came to nothing in their window; it is throttled when they are more
#: than were approved as well. Honest tills ask people who said that they want to pay.
MAX_DENIALS: Final = 10
#: The window of a terminal's prompts: long enough that a short quiet does not hide a habit.
DENIAL_WINDOW_S: Final = 15 * 60
#: Codes of one terminal that nobody uses: jacks of other servers drive by, but not every minute.
MAX_UNKNOWN_CODES: Final = 20
#: Wrong confirmations of one phone, after which it approves nothing: a phone in order has none.
MAX_FAILED_CONFIRMATIONS: Final = 5
#: Wrong enrolment codes from one address: an installer copies some of them badly.
MAX_FAILED_ENROLMENTS: Final = 10
#: Failed logins of one name, from one address and in one known browser, to a server's dashboard.
MAX_FAILED_LOGINS: Final = 10
#: The window of unknown codes, failed confirmations, failed enrolments and failed logins.
FAILURE_WINDOW_S: Final = 10 * 60
