"""The decision table, row by row (process.md section 2 and T9-T23; attacks.md A1, A2, A9, A11, L15)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.identities import GROUP, PASSWD, SANDBOX, accounts, inputs

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.accounts import Accounts
from supervisor.identity.decide import MAX_GROUPS, Identity, decide
from supervisor.identity.environment import identity_environment
from supervisor.identity.inputs import IdentityInputs

KNOWN = accounts()
NO_FILES = accounts(None, None)
WITH_SANDBOX = accounts(PASSWD + SANDBOX)

# what is given, the account files, uid, gid, groups, user, home
ACCEPTED = [
    # a pair
    pytest.param({"argv": ("4242", "4243", None)}, NO_FILES, 4242, 4243, (), "4242", "/sandbox",
                 id="argv pair, no account file"),
    pytest.param({"env": ("4242", "4243", None)}, NO_FILES, 4242, 4243, (), "4242", "/sandbox",
                 id="environment pair, no account file"),
    pytest.param({"env": ("500", "30", None)}, NO_FILES, 500, 30, (), "500", "/sandbox",
                 id="T15 system ids"),
    pytest.param({"env": ("101", "102", None)}, NO_FILES, 101, 102, (), "101", "/sandbox",
                 id="T21 numeric ids"),
    pytest.param({"argv": ("1", "4294967294", None)}, NO_FILES, 1, 4294967294, (), "1", "/sandbox",
                 id="the ends of the range"),
    pytest.param({"argv": ("app", "staff", None)}, KNOWN, 1000, 50, (44, 50), "app", "/home/app",
                 id="names bring their home and their groups"),
    pytest.param({"env": ("app", "1235", None)}, KNOWN, 1000, 1235, (44, 50), "app", "/home/app",
                 id="name and number"),
    pytest.param({"argv": ("5", "6", "")} | {"env": ("5", "6", "")}, NO_FILES, 5, 6, (), "5",
                 "/sandbox", id="the environment repeats the command line"),
    pytest.param({"env": ("5", "6", None), "image": ""}, NO_FILES, 5, 6, (), "5", "/sandbox",
                 id="T14 empty image user and a pair"),
    # groups
    pytest.param({"argv": ("5", "6", "9,7,8,7")}, NO_FILES, 5, 6, (7, 8, 9), "5", "/sandbox",
                 id="declared groups, sorted and once"),
    pytest.param({"argv": ("5", "6", "staff,7")}, KNOWN, 5, 6, (7, 50), "5", "/sandbox",
                 id="declared groups by name"),
    pytest.param({"argv": ("app", "app", "")}, KNOWN, 1000, 1001, (), "app", "/home/app",
                 id="declared to have none"),
    pytest.param({"env": ("5", "6", None), "argv": (None, None, "7")}, NO_FILES, 5, 6, (7,), "5",
                 "/sandbox", id="groups alone on the command line"),
    # pair and policy
    pytest.param({"env": ("5", "6", None), "policy": ("sandbox", "sandbox")}, NO_FILES, 5, 6, (),
                 "5", "/sandbox", id="policy sandbox means the pair"),
    pytest.param({"env": ("5", "6", None), "policy": ("5", "6")}, NO_FILES, 5, 6, (), "5",
                 "/sandbox", id="policy repeats the pair"),
    pytest.param({"env": ("1000", "50", None), "policy": ("app", "staff")}, KNOWN, 1000, 50, (),
                 "1000", "/sandbox", id="policy means the pair by name"),
    # policy and image user, field by field
    pytest.param({"policy": ("2000", None), "image": "app:staff"}, KNOWN, 2000, 50, (), "2000",
                 "/sandbox", id="T9"),
    pytest.param({"policy": (None, "2001"), "image": "app:root"}, KNOWN, 1000, 2001, (44, 50),
                 "app", "/home/app", id="T10"),
    pytest.param({"image": "app"}, KNOWN, 1000, 1001, (44, 50), "app", "/home/app", id="T11"),
    pytest.param({"policy": ("2000", "2001"), "image": "root:root"}, NO_FILES, 2000, 2001, (),
                 "2000", "/sandbox", id="T13 overridden image user is not looked at"),
    pytest.param({"policy": ("2000", None), "image": "app"}, KNOWN, 2000, 1001, (), "2000",
                 "/sandbox", id="the group of the image user's account"),
    pytest.param({"image": "1234:1235"}, NO_FILES, 1234, 1235, (), "1234", "/sandbox",
                 id="numeric image user, no account file"),
    pytest.param({"image": "1234"}, KNOWN, 1234, 1236, (), "1234", "/sandbox",
                 id="numeric image user, primary group of its account"),
    pytest.param({"image": "1234:staff"}, KNOWN, 1234, 50, (), "1234", "/sandbox",
                 id="number and name"),
    pytest.param({"image": "noshell:5"}, KNOWN, 1004, 5, (), "noshell", "/home/noshell",
                 id="no shell means sh"),
    # policy alone
    pytest.param({"policy": ("app", None)}, KNOWN, 1000, 1001, (44, 50), "app", "/home/app",
                 id="policy user alone"),
    pytest.param({"policy": ("zerogroup", "5")}, KNOWN, 1002, 5, (), "zerogroup", "/home/zero",
                 id="primary group 0 of an account that is overridden"),
    pytest.param({"policy": ("sandbox", "sandboxes")}, WITH_SANDBOX, 998, 2001, (), "sandbox",
                 "/sandbox", id="policy sandbox is an account when nothing else is given"),
    pytest.param({"policy": ("app", None), "image": ""}, KNOWN, 1000, 1001, (44, 50), "app",
                 "/home/app", id="image declares nobody, policy does"),
    # nothing
    pytest.param({}, WITH_SANDBOX, 998, 997, (), "sandbox", "/sandbox", id="T34 account sandbox"),
    # already unprivileged
    pytest.param({"process": (4242, 4242, ())}, NO_FILES, 4242, 4242, (), "4242", "/sandbox",
                 id="unprivileged, nothing given"),
    pytest.param({"process": (7, 8, (8,)), "env": ("7", "8", None)}, NO_FILES, 7, 8, (), "7",
                 "/sandbox", id="unprivileged, the same given"),
    pytest.param({"process": (7, 8, (9,)), "env": ("7", "8", "9")}, NO_FILES, 7, 8, (9,), "7",
                 "/sandbox", id="unprivileged, declared group"),
    pytest.param({"process": (7, 8, ()), "policy": ("sandbox", "sandbox")}, NO_FILES, 7, 8, (), "7",
                 "/sandbox", id="unprivileged, policy sandbox means the process"),
    pytest.param({"process": (1000, 5, (44, 50)), "image": "app"}, KNOWN, 1000, 5, (44, 50), "app",
                 "/home/app", id="unprivileged, the name of the process by the image user"),
    pytest.param({"process": (7, 8, ()), "policy": (None, "8")}, NO_FILES, 7, 8, (), "7",
                 "/sandbox", id="unprivileged, group named by the policy"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "files", "uid", "gid", "groups", "user", "home"), ACCEPTED)
def test_accepted(
    what: dict[str, object], files: Accounts, uid: int, gid: int, groups: tuple[int, ...], user: str, home: str
) -> None:  # fmt: skip
    identity = decide(inputs(**what), files)
    assert (identity.uid, identity.gid, identity.groups) == (uid, gid, groups)
    assert (identity.user, identity.home) == (user, home)
    assert identity_environment(identity) == {
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": identity.shell,
    }
    assert set(identity.sources) == {"uid", "gid", "groups", "user", "home", "shell"}
    assert all(identity.sources.values())


REFUSED = [
    ({"env": ("1000", None, None)}, KNOWN, codes.HALF_PAIR),  # T14
    ({"env": (None, "1000", None)}, KNOWN, codes.HALF_PAIR),
    ({"argv": ("1000", None, None)}, KNOWN, codes.HALF_PAIR),
    ({"argv": ("1000", None, None), "env": (None, "1000", None)}, KNOWN, codes.HALF_PAIR),
    ({"argv": ("1000", "1000", None), "env": ("1000", None, None)}, KNOWN, codes.HALF_PAIR),
    ({"argv": ("app", None, None)}, KNOWN, codes.HALF_PAIR),
    ({"policy": (None, "5")}, KNOWN, codes.HALF_PAIR),
    ({"policy": (None, "5"), "image": ""}, WITH_SANDBOX, codes.HALF_PAIR),
    # conflicts
    ({"env": ("5", "6", None), "image": "app"}, KNOWN, codes.CONFLICT),  # T14
    ({"argv": ("5", "6", None), "image": "5:6"}, KNOWN, codes.CONFLICT),
    ({"argv": ("5", "6", None), "env": ("7", "6", None)}, KNOWN, codes.CONFLICT),  # L15
    ({"argv": ("5", "6", None), "env": ("5", "7", None)}, KNOWN, codes.CONFLICT),
    ({"argv": ("5", "6", "8"), "env": ("5", "6", "9")}, KNOWN, codes.CONFLICT),
    ({"argv": ("5", "6", None), "env": (None, None, "27")}, KNOWN, codes.CONFLICT),
    ({"env": ("5", "6", None), "policy": ("7", None)}, KNOWN, codes.CONFLICT),
    ({"env": ("5", "6", None), "policy": (None, "7")}, KNOWN, codes.CONFLICT),
    ({"env": ("5", "6", None), "policy": ("app", "6")}, KNOWN, codes.CONFLICT),
    ({"env": ("5", "6", None), "policy": ("unknown", "6")}, KNOWN, codes.UNKNOWN_ACCOUNT),
    # root in every guise
    ({"env": ("0", "5", None)}, KNOWN, codes.ROOT),
    ({"env": ("5", "0", None)}, KNOWN, codes.ROOT),
    ({"argv": ("root", "5", None)}, NO_FILES, codes.ROOT),
    ({"argv": ("5", "root", None)}, NO_FILES, codes.ROOT),
    ({"argv": ("toor", "5", None)}, KNOWN, codes.ROOT),  # T18
    ({"argv": ("5", "toor", None)}, KNOWN, codes.ROOT),
    ({"argv": ("5", "6", "0")}, KNOWN, codes.ROOT),
    ({"argv": ("5", "6", "7,toor")}, KNOWN, codes.ROOT),
    ({"image": "0:1235"}, KNOWN, codes.ROOT),  # T17
    ({"image": "1234:0"}, KNOWN, codes.ROOT),
    ({"image": "root"}, KNOWN, codes.ROOT),
    ({"image": "zerogroup"}, KNOWN, codes.ROOT),
    ({"image": "wheelish"}, KNOWN, codes.ROOT),  # a member of gid 0
    ({"policy": ("0", "5")}, KNOWN, codes.ROOT),
    ({"policy": ("root", "root")}, KNOWN, codes.ROOT),  # T23
    ({}, accounts(b"sandbox:x:0:5::/:/bin/sh"), codes.ROOT),
    ({}, accounts(b"sandbox:x:5:0::/:/bin/sh"), codes.ROOT),
    # names that do not answer
    ({"image": "nobody-here"}, KNOWN, codes.UNKNOWN_ACCOUNT),  # T17
    ({"image": "app:nothing"}, KNOWN, codes.UNKNOWN_ACCOUNT),
    ({"argv": ("nobody-here", "5", None)}, KNOWN, codes.UNKNOWN_ACCOUNT),  # T22
    ({"policy": ("nobody-here", "5")}, KNOWN, codes.UNKNOWN_ACCOUNT),
    ({"policy": ("sandbox", "sandbox")}, KNOWN, codes.UNKNOWN_ACCOUNT),
    ({"policy": ("sandbox", "sandbox"), "image": "root:root"}, NO_FILES, codes.FILE_MISSING),
    ({"image": "app"}, NO_FILES, codes.FILE_MISSING),
    ({"image": "app"}, accounts(PASSWD + PASSWD), codes.AMBIGUOUS_ACCOUNT),  # T17
    ({"image": "app"}, accounts(PASSWD, b"junk"), codes.FILE_MALFORMED),
    ({"image": "1300"}, KNOWN, codes.AMBIGUOUS_ACCOUNT),
    ({"image": "4321"}, KNOWN, codes.NO_PRIMARY_GROUP),  # T17
    ({"policy": ("4321", None)}, KNOWN, codes.NO_PRIMARY_GROUP),
    ({"image": "homeless"}, KNOWN, codes.UNUSABLE_ACCOUNT),
    ({"image": "app"}, accounts(PASSWD.replace(b"\n", b"\r\n")), codes.UNUSABLE_ACCOUNT),
    # malformed image users
    ({"image": "app:"}, KNOWN, codes.BAD_ID),
    ({"image": ":staff"}, KNOWN, codes.BAD_ID),
    ({"image": "app:b:c"}, KNOWN, codes.BAD_ID),
    ({"image": " app"}, KNOWN, codes.BAD_ID),
    ({"image": "x" * 2000}, KNOWN, codes.BAD_ID),
    ({"env": ("", "", None)}, KNOWN, codes.BAD_ID),
    ({"policy": ("", "")}, KNOWN, codes.BAD_ID),  # T23
    # malformed groups
    ({"argv": ("5", "6", ",")}, KNOWN, codes.BAD_ID),
    ({"argv": ("5", "6", "7,")}, KNOWN, codes.BAD_ID),
    ({"argv": ("5", "6", "7, 8")}, KNOWN, codes.BAD_ID),
    ({"argv": ("5", "6", "7 8")}, KNOWN, codes.BAD_ID),
    ({"argv": ("5", "6", ",".join("7" * (MAX_GROUPS + 1)))}, KNOWN, codes.TOO_MANY_GROUPS),
    # nothing
    ({}, KNOWN, codes.NONE_GIVEN),  # T34
    ({}, NO_FILES, codes.NONE_GIVEN),
    ({}, accounts(b"junk"), codes.FILE_MALFORMED),
    ({"image": ""}, WITH_SANDBOX, codes.NONE_GIVEN),  # T14, T17
    # ids of the helpers: A9, A11
    ({"env": ("64998", "5", None)}, KNOWN, codes.RESERVED_ID),
    ({"env": ("5", "64999", None)}, KNOWN, codes.RESERVED_ID),
    ({"env": ("5", "6", "64998")}, KNOWN, codes.RESERVED_ID),
    ({"process": (64999, 5, ())}, KNOWN, codes.RESERVED_ID),
    # already unprivileged
    ({"process": (7, 8, ()), "env": ("9", "8", None)}, KNOWN, codes.PROCESS_DIFFERS),
    ({"process": (7, 8, ()), "env": ("7", "9", None)}, KNOWN, codes.PROCESS_DIFFERS),
    ({"process": (7, 8, ()), "image": "app"}, KNOWN, codes.PROCESS_DIFFERS),
    ({"process": (7, 8, ()), "policy": ("9", None)}, KNOWN, codes.PROCESS_DIFFERS),
    ({"process": (7, 0, ())}, KNOWN, codes.ROOT),
    ({"process": (7, 8, (27,))}, KNOWN, codes.PROCESS_GROUPS),  # A2
    ({"process": (7, 8, (0,))}, KNOWN, codes.PROCESS_GROUPS),
    ({"process": (7, 8, ()), "argv": ("7", "8", "27")}, KNOWN, codes.PROCESS_GROUPS),
]


@pytest.mark.parametrize(("what", "files", "code"), REFUSED)
def test_refused(what: dict[str, object], files: Accounts, code: object) -> None:
    with pytest.raises(Refusal) as caught:
        decide(inputs(**what), files)
    assert caught.value.code is code, caught.value.cause


@pytest.mark.parametrize(
    "text", ["0", "00", "+0", " 0", "-1", "4294967295", "4294967296", "1e3", "٣", "", "1000:0"]
)
@pytest.mark.parametrize("origin", ["argv", "env"])
@pytest.mark.parametrize("place", [0, 1])
def test_no_spelling_of_attack_a1_becomes_an_identity(text: str, origin: str, place: int) -> None:
    triple: list[str | None] = ["1000", "1000", None]
    triple[place] = text
    with pytest.raises(Refusal):
        decide(inputs(**{origin: tuple(triple)}), WITH_SANDBOX)


@pytest.mark.parametrize(
    "item", ["0", "00", "+0", " 0", "-1", "4294967295", "4294967296", "1e3", "٣", "1000:0"]
)
def test_no_spelling_of_attack_a1_becomes_a_group(item: str) -> None:
    with pytest.raises(Refusal):
        decide(inputs(argv=("1000", "1000", f"5,{item}")), WITH_SANDBOX)


def test_a_hostile_passwd_does_not_touch_a_numeric_identity() -> None:
    hostile = accounts(b"4242:x:0:0::/root:/bin/sh\njunk", b"\0")
    identity = decide(inputs(env=("4242", "4242", None)), hostile)
    assert (identity.uid, identity.gid, identity.groups) == (4242, 4242, ())


def test_the_default_account_is_reported() -> None:
    identity = decide(inputs(), WITH_SANDBOX)
    assert any("nothing says" in warning for warning in identity.warnings)
    assert "for want of any input" in identity.sources["uid"]


def test_a_number_that_belongs_to_an_account_of_the_image_is_reported() -> None:
    identity = decide(inputs(argv=("1000", "1000", None)), KNOWN)
    assert (identity.user, identity.home) == ("1000", "/sandbox")
    assert any("'app'" in warning and "'/home/app'" in warning for warning in identity.warnings)


def test_service_ids_are_warned_about_and_ordinary_ones_not() -> None:
    assert len(decide(inputs(argv=("999", "999", None)), NO_FILES).warnings) == 2
    assert decide(inputs(argv=("1000", "1000", None)), NO_FILES).warnings == ()


def test_sources_name_the_input_that_decided() -> None:
    identity = decide(inputs(policy=("2000", None), image="app:staff"), KNOWN)
    assert identity.sources["uid"] == "the policy's run_as_user"
    assert identity.sources["gid"] == "the group of SANDBOX_IMAGE_USER"
    assert decide(inputs(image="app"), KNOWN).sources == {
        "uid": "the user of SANDBOX_IMAGE_USER",
        "gid": "the primary group of 'app' in /etc/passwd",
        "groups": "the groups that list 'app' in /etc/group",
        "user": "/etc/passwd",
        "home": "/etc/passwd",
        "shell": "/etc/passwd",
    }


WORDS = st.sampled_from(
    [None, "", "0", "00", "5", "7", "8", "root", "toor", "app", "sandbox", "wheelish", "zerogroup", "nobody-here", "64998", "4294967295", "app:staff", "app:root"]
)  # fmt: skip
TRIPLES = st.tuples(WORDS, WORDS, WORDS)
INPUTS = st.builds(
    inputs,
    argv=TRIPLES | st.just((None, None, None)),
    env=TRIPLES | st.just((None, None, None)),
    image=WORDS,
    policy=st.tuples(WORDS, WORDS) | st.just((None, None)),
    process=st.sampled_from([(0, 0, ()), (0, 0, (0, 1, 2)), (7, 8, ()), (7, 8, (0,)), (7, 0, ())]),
)
FILES = st.sampled_from(
    [KNOWN, NO_FILES, WITH_SANDBOX, accounts(b"junk", b"junk"), accounts(PASSWD, None), accounts(None, GROUP)]
)  # fmt: skip


@given(INPUTS, FILES)
def test_whatever_is_given_nobody_becomes_root_or_a_helper(
    given_inputs: IdentityInputs, files: Accounts
) -> None:
    outcome = _outcome(given_inputs, files)
    if isinstance(outcome, Refusal):
        assert outcome.code.name.startswith("identity.")
        assert outcome.remedy
        return
    identity = outcome
    held = {identity.uid, identity.gid, *identity.groups}
    assert held.isdisjoint({0, 64998, 64999, 4294967295})
    if given_inputs.process.uid:
        assert (identity.uid, identity.gid) == (given_inputs.process.uid, given_inputs.process.gid)


def _outcome(given_inputs: IdentityInputs, files: Accounts) -> Identity | Refusal:
    try:
        return decide(given_inputs, files)
    except Refusal as refusal:
        return refusal
