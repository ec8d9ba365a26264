"""What is found, by kind: numbers that standards and offices give as examples, and what is none."""

from __future__ import annotations

import base64
import json

import pytest

from llmos.data.steps.personal_data.find import KINDS, MASKS, Found, find, masked
from llmos.data.steps.personal_data.national_ids import COUNTRIES
from llmos.recipe_preparation import PERSONAL_KINDS


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in find(text)]


def test_all_kinds_of_the_recipe_are_looked_for() -> None:
    assert set(KINDS) == set(PERSONAL_KINDS)
    assert MASKS["credit_card"] == "<CREDIT_CARD>"
    assert set(COUNTRIES) == {"BR", "CN", "DE", "ES", "FR", "GB", "IN", "IT", "US"}


JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (
        json.dumps({"alg": "HS256"}).encode(),
        b'{"sub": "nobody at all"}',
        b"0123456789" * 3,
    )
)
VARIED = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"
EXAMPLES = {
    "email": [
        "jane.doe+list@mail.example.org",
        "o'neill@example.co.uk",
        "müller@bäcker.example",
        "почта@пример.рф",
        "jane [at] example [dot] org",
        "jane.doe(at)example.org",
        "ＪＡＮＥ＠ｅｘａｍｐｌｅ．ｏｒｇ",
        "jane@xn--bcher-kva.example",
    ],
    "phone": [
        "+1 202-555-0143",  # 555-01xx: fiction (NANPA); 020 7946 0: fiction (Ofcom)
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
        "+33 1 99 00 12 34",  # 01 99 00: fiction (ARCEP)
        "+493023125123",  # 030 23125: fiction (Bundesnetzagentur)
        "0044 20 7946 0958",
        "020 7946 0958",
        "01 99 00 12 34",
        "01.99.00.12.34",
        "030 23125 123",
        "030/23125123",
        "(202) 555-0143",
        "202.555.0143",
        "1-202-555-0143",
        "202-555-0143 ext. 12",
        "(11) 95555-0143",
        "11 95555-0143",
        "+８６-10-5555-0143",
        "٠٢٠ ٧٩٤٦ ٠٩٥٨",
        "०२० ७९४६ ०९५८",
        "０２０－７９４６－０９５８",
        "020\u00a07946\u00a00958",
        "020\u20117946\u20110958",
    ],
    "iban": [  # SWIFT's registry
        "GB29NWBK60161331926819",
        "GB29 NWBK 6016 1331 9268 19",
        "DE89 3704 0044 0532 0130 00",
        "FR14 2004 1010 0505 0001 3M02 606",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "NO9386011117947",
        "sa0380000000608010167519",
    ],
    "credit_card": [  # the networks' numbers for tests
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "6200 0000 0000 0005",
        "２２２３００３１２２００３２２２",
    ],
    "national_id": [
        "86095742719",  # ELSTER, test cases
        "86 095 742 719",
        "2 55 08 14 168 025 38",  # INSEE's way to write it
        "255081416802538",
        "1 85 05 2A 006 084 35",
        "12345678Z",
        "12345678-Z",
        "X1234567L",
        "RSSMRA85T10A562S",  # Agenzia delle Entrate: Mario Rossi
        "AB123456C",  # HMRC
        "AB 12 34 56 C",
        "219-09-9999",  # Social Security Administration
        "900-70-0000",
        "11010519491231002X",  # GB 11643-1999
        "440524188001010014",
        "2341 2341 2346",  # UIDAI, for tests
        "ABCPE1234F",
        "529.982.247-25",
        "52998224725",
        "11.222.333/0001-81",
        "12.ABC.345/01DE-35",  # Receita Federal: with letters
    ],
    "ip_address": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "2606:4700::6810:84e5"],
    "crypto_wallet": [
        "16UwLL9Risc3QfPqBUvKofHmBQ7wMtjvM",  # Bitcoin wiki
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",  # BIP 173, BIP 350
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # EIP-55
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
    ],
    "api_key": [
        "AKIAIOSFODNN7EXAMPLE",  # AWS
        "ghp_" + VARIED[:36],
        "github_pat_" + VARIED[:22] + "_" + (VARIED * 2)[:59],
        "glpat-" + VARIED[:20],
        "xoxb-123456789012-" + VARIED[:24],
        "AIza" + VARIED[:35],
        "sk-" + VARIED[:48],
        "sk-proj-" + VARIED + VARIED,
        "hf_" + VARIED[:34],
        "sk_live_" + VARIED[:24],
        "npm_" + VARIED[:36],
        "SG." + VARIED[:22] + "." + (VARIED * 2)[:43],
        JWT,
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow==\n"
        "-----END RSA PRIVATE KEY-----",
    ],
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_examples_are_found_in_full(kind: str) -> None:
    for example in EXAMPLES[kind]:
        for sentence in ("{}", "Write {} down.", "它是{}。", "({}), see\n2021", "é «{}»"):
            assert found(sentence.format(example)) == [(kind, example)]


def test_of_a_secret_with_a_name_the_secret_alone() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # AWS
    for name in (
        "aws_secret_access_key = ",
        "AWS_SECRET_ACCESS_KEY=",
        '"aws_secret_access_key": "',
    ):
        assert found(name + secret) == [("api_key", secret)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Call me at 467 3395, please", "467 3395"),
        ("Phone:\n60-56-85-91", "60-56-85-91"),
        ("电话：5555 0143", "5555 0143"),
        ("Тел. 555-01-43", "555-01-43"),
        ("مكتب هاتف: ٥٥٥٥٠١٤٣", "٥٥٥٥٠١٤٣"),
        ("450 0840 office\n", "450 0840"),
        ("her phone number (555-0143)", "555-0143"),
        ("fax (55) 5-0143", "(55) 5-0143"),
    ],
)
def test_a_word_beside_makes_digits_a_telephone_number(text: str, number: str) -> None:
    assert found(text) == [("phone", number)]
    assert found(f"It grew to {number} in all") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("NHS number: 9434765919", "9434765919"),
        ("her SSN is 219 09 9999", "219 09 9999"),
        ("Aadhaar no. 234123412346", "234123412346"),
        ("आधार २३४१२३४१२३४६", "२३४१२३४१२३४६"),
    ],
)
def test_a_word_before_makes_bare_digits_a_national_number(text: str, number: str) -> None:
    assert found(text) == [("national_id", number)]
    assert ("national_id", number) not in found(f"It grew to {number} in all")


@pytest.mark.parametrize(
    "text",
    [
        "on 2021-03-04 12:30, 04.03.2021, 01/02/2003 and 1914-1918, 1980-1990年代",
        "pi is 3.14159265358979 and 1/3 0.3333333333333333, 1.000.000.000 or 1,000,000,000",
        "version 93.184.216.34, v93.184.216.34, pkg-93.184.216.34, section 1.2.3.4, 8.8.8.8",
        "10.0.0.1, 192.168.1.77, 127.0.0.1, 224.0.0.251, 999.184.216.34 and 93.184.216.34.1",
        "std::vector<int>::size_type a::b 12:30:45 dead::beef fe80::1 2001:db8::1 ::1",
        "@app.get('/') icon@2x.png git@github.com:a/b.git user@localhost a@b",
        "4111111111111112 and 1234567890123456 and 4111111111111111.5 and x4111111111111111",
        "DE88 3704 0044 0532 0130 00 and GB29 NWBK 6016 1331 9268 1 and ZZ29NWBK60161331926819",
        "000-12-3456 666-12-3456 123-00-4567 123-45-0000 12345678A X1234567A RSSMRA85T10A562T",
        "86095742718 255081416802539 110105194912310021 1234 1234 1234 529.982.247-26 QQ123456C",
        "2001 2002 2003 and 1 2 3 4 5 6 7 8 9 10 11 12 and 12 345 678 901 234",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5 16UwLL9Risc3QfPqBUvKofHmBQ7wMtjvN",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed 0x0000000000000000000000000000000000000000",
        "hf_" + "x" * 34 + " sk-" + "X" * 48 + " task-" + VARIED,
        "eyJabcdefghijkl.eyJabcd.0123456789abcdefg",
        "9780198526636 0-19-852663-6 0735619670 978-3-16-148410-0 d41d8cd98f00b204e9800998ecf8427e",
        "-----BEGIN PRIVATE KEY----- and nothing more",
    ],
)
def test_what_is_like_it_and_is_none(text: str) -> None:
    assert found(text) == []


def test_the_surer_kind_has_what_two_kinds_would_take() -> None:
    assert found("https://user:secret@example.org/4111111111111111") == [
        ("email", "secret@example.org"),
        ("credit_card", "4111111111111111"),
    ]
    assert found("+4111111111111111") != [("credit_card", "4111111111111111")]


def test_only_the_kinds_that_are_wanted() -> None:
    text = "jane@example.org, 202-555-0143"
    assert find(text, ["phone"]) == [Found(18, 30, "phone")]
    assert masked(text, find(text)) == "<EMAIL>, <PHONE>"


def test_an_address_far_into_a_long_text_keeps_its_place() -> None:
    text = "ç a b " * 300_000 + "jane@example.org 𝄞 202-555-0143" + " d ﷽ e" * 1000
    assert found(text) == [("email", "jane@example.org"), ("phone", "202-555-0143")]
