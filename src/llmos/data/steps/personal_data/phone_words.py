"""Words that say that the digits beside them are a telephone number, in small letters."""

from __future__ import annotations

import re

_TELEPHONE = (
    r"(?<!<)\b(?:phones?|telephone|tel|tél|téléphone|telefon[eo]?|teléfono|telefoon|telefonnummer|"
    r"telepon|mobiles?|mobil|móvil|cell|cellphone|celular|cellulare|cellulaire|portable|handy|"
    r"whatsapp|fax|téléfax|telefax|desk|hotline|call|text (?:me|us|to)|sms|ring|dial|reach|contact|"
    r"messages? (?:to|at|on)|answering (?:at|on)|тел|телефон\w*|моб|звоните|điện thoại)"
)
_WITHOUT_SPACES = (
    r"电话|手机|電話|手機|携帯|传真|傳真|联系方式|전화|전화번호|휴대폰|연락처|फ़ोन|फ़ोन|फोन|मोबाइल|दूरभाष|"
    r"هاتف|جوال|موبايل|تلفن|ফোন|মোবাইল|โทร|โทรศัพท์|เบอร์"
)
_BETWEEN = (
    r"(?:number|num|no|nr|n°|nummer|número|numéro|numero|home|work|office|mobile|us|me|him|her|them|"
    r"now|at|on|to|is)\b|号码|號碼|番号|번호|नंबर|号|는|은|：|\W"
)
BEFORE = re.compile(rf"(?:{_TELEPHONE}|{_WITHOUT_SPACES})(?:{_BETWEEN})*+$")
"""A word for a telephone, or for using it, and little more: "call me at "."""
BEHIND = re.compile(
    r"[ \-]{1,3}\(?(?:office|fax|mobile|cell|phone|desk)\b[ )]?(?:[\n\\,;.]|$)", re.IGNORECASE
)
"""A label behind the number, as in addresses: "450 0840 office"."""
LABELS = ("ffice", "ax", "obile", "ell", "hone", "esk")
"""One of these is in a text with such a label, unless that is all in capitals."""
