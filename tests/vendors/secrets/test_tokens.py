"""Where tokens are found, in which order, and where they are kept and forgotten."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import keyring
import pytest
from keyring.backends.null import Keyring as NullKeyring

from limner.errors import AccountRefused, InputRefused, StorageFailed
from limner.settings import Settings
from limner.vendors.secrets.accounts import VENDOR_ACCOUNTS, VendorAccount
from limner.vendors.secrets.tokens import find_token, forget_token, has_token, keep_token, redact, token_for, where
from tests.vendors.conftest import DictKeyring

TOKEN = "r8_0123456789abcdefghij"


@pytest.mark.parametrize("vendor", VENDOR_ACCOUNTS)
def test_without_a_token_it_is_said_how_to_get_one(vendor: str, nobody: Settings) -> None:
    assert not has_token(vendor, nobody)
    assert where(vendor, nobody) == ""
    with pytest.raises(AccountRefused) as caught:
        find_token(vendor, nobody)
    account = VENDOR_ACCOUNTS[vendor]
    assert f"limner login {vendor}" in caught.value.remedy
    assert account.page in caught.value.remedy
    assert account.variables[0] in caught.value.remedy
    assert account.scope


def test_an_unknown_vendor_is_refused(nobody: Settings) -> None:
    for ask in (find_token, where, has_token, forget_token):
        with pytest.raises(InputRefused, match="no vendor 'acme'"):
            ask("acme", nobody)


def test_the_order_of_places(nobody: Settings, ring: DictKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place that is added goes before those that were there; a folder that may be anybody's comes last."""
    home, here = nobody.home, Path.cwd()
    home.mkdir()
    hub_file = Path(os.environ["HF_HOME"]) / "token"
    hub_file.parent.mkdir()
    (here / ".env").write_text('HUGGING_FACE_HUB_TOKEN="hf_from_the_env_here"\n')
    steps: list[tuple[str, str]] = [("hf_from_the_env_here", str(here / ".env"))]

    def check() -> None:
        token, place = steps[-1]
        assert find_token("huggingface", nobody).reveal() == token
        assert place in where("huggingface", nobody)
        assert token not in where("huggingface", nobody)

    check()
    hub_file.write_text("hf_from_the_hubs_own_file\n")
    steps.append(("hf_from_the_hubs_own_file", str(hub_file)))
    check()
    keep_token("huggingface", "hf_from_the_keyring", nobody)
    steps.append(("hf_from_the_keyring", "keyring"))
    check()
    (home / ".env").write_text("OTHER=1\nexport HF_TOKEN='hf_from_the_home_env'\n")
    steps.append(("hf_from_the_home_env", str(home / ".env")))
    check()
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_from_the_old_variable")
    steps.append(("hf_from_the_old_variable", "HUGGING_FACE_HUB_TOKEN in the environment"))
    check()
    monkeypatch.setenv("HF_TOKEN", " hf_from_the_variable\n")
    steps.append(("hf_from_the_variable", "HF_TOKEN in the environment"))
    check()
    for token, _ in steps:
        assert redact(f"x {token} y") == "x [secret] y"


@pytest.mark.parametrize("account", VENDOR_ACCOUNTS.values(), ids=lambda account: account.name)
def test_a_kept_token_goes_to_no_address_that_a_variable_names(
    account: VendorAccount, nobody: Settings, ring: DictKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_token(account.name, TOKEN, nobody)
    for name in account.addresses:
        with monkeypatch.context() as patched:
            patched.setenv(f"LIMNER_{name.upper()}", "https://elsewhere.example")
            elsewhere = Settings(home=nobody.home)
            with pytest.raises(AccountRefused, match=r"is not sent to https://elsewhere\.example") as refused:
                find_token(account.name, elsewhere)
            assert TOKEN not in str(refused.value)
            # in the same breath as the address, as by a script that means both
            patched.setenv(account.variables[0], "given-with-the-address")
            assert find_token(account.name, elsewhere).reveal() == "given-with-the-address"
            patched.delenv(account.variables[0])
            # what code gave, also as a worker is handed it
            given = Settings(home=nobody.home, **{name: "https://mine.example"})
            assert find_token(account.name, given).reveal() == TOKEN
            for variable, value in given.as_environment().items():
                patched.setenv(variable, value)
            assert find_token(account.name, Settings()).reveal() == TOKEN
        # the home's own file
        nobody.home.mkdir(exist_ok=True)
        (nobody.home / "limner.toml").write_text(f'{name} = "https://mine.example"\n')
        assert find_token(account.name, Settings(home=nobody.home)).reveal() == TOKEN
        (nobody.home / "limner.toml").unlink()
    assert find_token(account.name, nobody).reveal() == TOKEN


def test_a_token_kept_for_another_address_goes_there_and_nowhere_else(
    nobody: Settings, ring: DictKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_HUGGINGFACE_URL", "https://hub.example")
    keep_token("huggingface", TOKEN, Settings(home=nobody.home))
    assert find_token("huggingface", Settings(home=nobody.home)).reveal() == TOKEN
    monkeypatch.setenv("LIMNER_HUGGINGFACE_URL", "https://elsewhere.example")
    with pytest.raises(AccountRefused):
        find_token("huggingface", Settings(home=nobody.home))
    forget_token("huggingface", nobody)
    assert "LIMNER_" not in (nobody.home / ".env").read_text()


def test_every_address_of_a_vendor_is_named_by_its_account() -> None:
    """A setting of next year too: whoever adds an address says whose token goes there."""
    named = {name for account in VENDOR_ACCOUNTS.values() for name in account.addresses}
    of_others = {"public_url", "s3_public_url", "s3_endpoint"}
    assert {name for name in Settings.model_fields if name.endswith(("_url", "_endpoint"))} == named | of_others


def test_an_empty_variable_hides_nothing(nobody: Settings, ring: DictKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "  ")
    keep_token("replicate", TOKEN, nobody)
    assert token_for("replicate", nobody)().reveal() == TOKEN


@pytest.mark.parametrize("wrong", ["abc", "two words here", "líne-with-accents", "tab\tinside-it", "x" * 5000])
def test_what_cannot_be_sent_in_a_header_is_refused(
    wrong: str, nobody: Settings, ring: DictKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputRefused) as caught:
        keep_token("replicate", wrong, nobody)
    assert wrong not in str(caught.value)
    assert ring.kept == {}
    monkeypatch.setenv("REPLICATE_API_TOKEN", wrong)
    with pytest.raises(AccountRefused) as refused:
        find_token("replicate", nobody)
    assert "REPLICATE_API_TOKEN in the environment" in str(refused.value)
    assert wrong not in str(refused.value)


def test_a_keyring_keeps_it_and_the_env_file_of_home_is_emptied_of_it(nobody: Settings, ring: DictKeyring) -> None:
    env = nobody.home / ".env"
    env.parent.mkdir()
    env.write_text("REPLICATE_API_TOKEN=r8_old_one_of_before\nLIMNER_BASE=flux1-dev\n")
    assert keep_token("replicate", f" {TOKEN}\n", nobody) == "the keyring of this system"
    assert ring.kept == {("limner", "replicate"): TOKEN}
    assert env.read_text() == "LIMNER_BASE=flux1-dev\n"
    assert find_token("replicate", nobody).reveal() == TOKEN
    assert forget_token("replicate", nobody) == ("the keyring of this system",)
    assert not has_token("replicate", nobody)
    assert forget_token("replicate", nobody) == ()


@pytest.mark.parametrize("silent", [False, True])
def test_without_a_keyring_the_home_folder_keeps_it_for_its_owner_only(silent: bool, nobody: Settings) -> None:
    if silent:
        # This one takes everything and keeps nothing.
        keyring.set_keyring(NullKeyring())
    env = nobody.home / ".env"
    env.parent.mkdir()
    env.write_text("# mine\nLIMNER_BASE=flux1-dev\n")
    env.chmod(0o644)
    place = keep_token("replicate", TOKEN, nobody)
    assert str(env) in place
    assert "no keyring" in place
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert env.read_text() == f"# mine\nLIMNER_BASE=flux1-dev\nREPLICATE_API_TOKEN={TOKEN}\n"
    assert find_token("replicate", nobody).reveal() == TOKEN
    keep_token("replicate", "r8_another_token_now", nobody)
    assert find_token("replicate", nobody).reveal() == "r8_another_token_now"
    assert env.read_text().count("REPLICATE") == 1
    assert forget_token("replicate", nobody) == (str(env),)
    assert env.read_text() == "# mine\nLIMNER_BASE=flux1-dev\n"
    assert [path.name for path in env.parent.iterdir()] == [".env"]


def test_where_nothing_can_be_written_it_is_told(nobody: Settings) -> None:
    nobody.home.write_text("no folder")
    with pytest.raises(StorageFailed) as caught:
        keep_token("replicate", TOKEN, nobody)
    assert "REPLICATE_API_TOKEN" in caught.value.remedy
    assert TOKEN not in str(caught.value)


def test_a_damaged_env_file_is_survived(nobody: Settings) -> None:
    nobody.home.mkdir()
    (nobody.home / ".env").write_bytes(b"\xff\xfe\x00==\n'\"\nREPLICATE_API_TOKEN=" + TOKEN.encode() + b"\n=\n")
    assert find_token("replicate", nobody).reveal() == TOKEN


def test_nothing_heavy_is_loaded_to_look(nobody: Settings) -> None:
    code = (
        "import sys; from limner.settings import Settings; from limner.vendors.secrets.tokens import where; "
        "where('fal', Settings()); heavy = ('httpx2', 'huggingface_hub', 'torch', 'sqlalchemy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
