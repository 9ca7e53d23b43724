"""The file of credentials: what it may say, and that a mistake is refused with where it is and what to write."""

from pathlib import Path

import pytest

from lockservice.auth_file import AuthFileError, NamespaceLimits, read
from lockservice.credentials import Credentials, new_token
from lockservice.limits import AUTH_FILE_BYTES_MAX

TOKEN, HASH = new_token()
GOOD = f"""
[[credential]]
name = "shop"
namespace = "shop"
token-sha256 = ["{HASH}"]
"""


def test_the_whole_of_it() -> None:
    """Every key, and the defaults of those that are absent."""
    file = read(
        GOOD
        + """
        [[credential]]
        name = "ops@example.org"
        namespace = ""
        certificates = ["ops.example.org", "spiffe://example.org/ops"]
        prefixes = ["order:", "cart:"]
        roles = ["worker", "operator"]

        [namespace.shop]
        leases = 10_000
        waiters = 1_000
        remembered-events = 1_000_000
        calls-a-second = 500

        [namespace.""]
        leases = 1
        """
    )
    shop, operator = file.entries
    assert (shop.namespace, shop.prefixes, shop.roles) == ("shop", ("",), {"worker"})
    assert shop.token_hashes == (bytes.fromhex(HASH),)
    assert operator.certificates == ("ops.example.org", "spiffe://example.org/ops")
    assert (operator.prefixes, operator.roles) == (("order:", "cart:"), {"worker", "operator"})
    assert file.limits == {
        "shop": NamespaceLimits(10_000, 1_000, 1_000_000, 500),
        "": NamespaceLimits(1, None, None, None),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no [[credential]]"),
        ("credential = 3", "no [[credential]]"),
        ("[credential]\nname = 'x'", "no [[credential]]"),
        ("[[credentials]]", "did you mean credential?"),
        (GOOD.replace("namespace", "namespaec"), "did you mean namespace?"),
        (GOOD.replace("token-sha256", "token"), "unknown 'token'"),
        (GOOD.replace('namespace = "shop"', ""), "namespace must be"),
        (GOOD.replace('namespace = "shop"', 'namespace = "Shop"'), "namespace must be"),
        (GOOD.replace('namespace = "shop"', 'namespace = "a/b"'), "namespace must be"),
        (GOOD.replace('namespace = "shop"', f'namespace = "{"a" * 64}"'), "namespace must be"),
        (GOOD.replace('name = "shop"', 'name = ""', 1), "credential number 1"),
        (GOOD.replace('name = "shop"', "name = 7", 1), "credential number 1"),
        (GOOD.replace(f'["{HASH}"]', f'"{HASH}"'), "a list of texts"),
        (GOOD.replace(f'["{HASH}"]', "[]"), "a list of texts"),
        (GOOD.replace(HASH, TOKEN), "`lockservice token` prints"),
        (GOOD.replace(HASH, HASH.upper()), "`lockservice token` prints"),
        (GOOD.replace(f'token-sha256 = ["{HASH}"]', ""), "token-sha256 or certificates"),
        (GOOD + "prefixes = []", "a list of texts"),
        (GOOD + "prefixes = ['']", "none of them empty"),
        (GOOD + f"prefixes = ['{'x' * 513}']", "at most 512 bytes"),
        (GOOD + "roles = ['admin']", "operator, worker"),
        (GOOD + "roles = []", "a list of texts"),
        (GOOD + GOOD, "the same name"),
        (GOOD + GOOD.replace('name = "shop"', 'name = "other"', 1), "the same token-sha256"),
        (GOOD + "namespace = 1", "no TOML"),
        ("x = " + "[" * 100_000, "no TOML"),
        (GOOD + "[namespace.shap]\nleases = 1", "did you mean shop?"),
        (GOOD + "[namespace.shop]\nlease = 1", "did you mean leases?"),
        (GOOD + "[namespace.shop]\nleases = 0", "a number from 1"),
        (GOOD + "[namespace.shop]\nleases = true", "a number from 1"),
        (GOOD + "[namespace.shop]\nleases = '1'", "a number from 1"),
        (GOOD + "[namespace]\nshop = 1", "[namespace.shop]"),
        ("namespace = 1\n" + GOOD, "[namespace.NAME]"),
        (GOOD.replace(HASH, HASH + "\n"), "no TOML"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    """A mistake is refused with what to write instead, without a word that could be a token."""
    with pytest.raises(AuthFileError) as refused:
        read(text)
    assert said in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff", b"#" * (AUTH_FILE_BYTES_MAX + 1)])
def test_files_that_are_no_such_text(tmp_path: Path, data: bytes) -> None:
    """Bytes that are no UTF-8, and a file that is far too long, are refused."""
    path = tmp_path / "auth.toml"
    path.write_bytes(data)
    with pytest.raises(AuthFileError):
        Credentials(path)
