"""Running text, made up for the tests of this folder."""

from __future__ import annotations

import pytest

_ENGLISH = """The river rises in the hills above the town and runs for forty miles to the sea. \
Every
spring the snow melts, and the water comes down brown and fast with branches and stones in it.

People have lived along its banks for a long time. They built mills of grey stone, and later a
bridge that still carries the road. Some of them fished, others kept sheep on the slopes; their
houses stand close together, as if they had been afraid of being alone.

When the railway came, the mills closed one after the other. Have the children of the millers gone
away? Most have, yet a few of them came back to open small shops that sell bread and books."""

_GERMAN = """Der Fluss entspringt in den Hügeln über der Stadt und fließt vierzig Meilen bis zum
Meer. Jeden Frühling schmilzt der Schnee, und das Wasser kommt braun und schnell herab.
Seit langer Zeit wohnen Leute an seinen Ufern. Sie bauten Mühlen aus grauem Stein und später eine
Brücke, die noch immer die Straße trägt. Einige von ihnen fischten, andere hielten Schafe.
Als die Eisenbahn kam, schlossen die Mühlen eine nach der anderen. Sind die Kinder \
fortgegangen?"""

_CHINESE = """这条河发源于城北的山岭，蜿蜒四十里后流入大海。每年春天积雪融化，河水浑浊而湍急，\
带着树枝和石块奔流而下。
很久以前人们就在河岸上居住。他们用灰色的石头建起磨坊，后来又修了一座桥，至今仍然承载着公路。\
有人捕鱼，有人在山坡上放羊；房屋紧紧地挨在一起。
铁路通车以后，磨坊一家接一家地关闭了。磨坊主的孩子们都离开了吗？大多数人走了，\
不过也有几个人回来开了小店，卖面包和书。"""

_JAPANESE = """この川は町の北にある丘から流れ出し、四十里を経て海に注いでいる。\
毎年春になると雪が解け、濁った水が枝や石を運びながら勢いよく流れてくる。
人々はずっと昔から川のほとりに住んできた。灰色の石で水車小屋を建て、のちに橋を架けた。\
その橋は今も道路を支えている。魚を捕る者もいれば、山の斜面で羊を飼う者もいた。
鉄道が通ると、水車小屋は次々と閉じられた。子どもたちは町を出ていったのだろうか。多くは去ったが、\
戻ってきて小さな店を開き、パンや本を売る人もいる。"""

_THAI = """แม่น้ำสายนี้ไหลมาจากเนินเขาทางเหนือของเมือง และไหลต่อไปอีกสี่สิบไมล์จนถึงทะเล \
ทุกฤดูใบไม้ผลิหิมะจะละลาย น้ำสีน้ำตาลจะไหลลงมาอย่างรวดเร็วพร้อมกับกิ่งไม้และก้อนหิน
ผู้คนอาศัยอยู่ริมฝั่งแม่น้ำมานานแล้ว พวกเขาสร้างโรงสีด้วยหินสีเทา \
และต่อมาก็สร้างสะพานที่ยังใช้เป็นถนนอยู่จนถึงทุกวันนี้ บางคนจับปลา บางคนเลี้ยงแกะบนไหล่เขา \
บ้านของพวกเขาตั้งอยู่ใกล้กัน
เมื่อรถไฟมาถึง โรงสีก็ปิดตัวลงทีละแห่ง เด็กส่วนใหญ่ย้ายออกไปแล้ว แต่มีบางคนกลับมาเปิดร้านเล็กๆ \
ขายขนมปังและหนังสือ"""

_HINDI = """यह नदी शहर के ऊपर की पहाड़ियों से निकलती है और चालीस मील चलकर समुद्र में मिलती है। \
हर वसंत में बर्फ पिघलती है और पानी तेज़ी से नीचे आता है।
लोग बहुत समय से इसके किनारों पर रहते हैं। उन्होंने पत्थर की चक्कियाँ बनाईं और बाद में एक पुल \
बनाया, जिस पर आज भी सड़क चलती है। कुछ लोग मछली पकड़ते थे, कुछ भेड़ें पालते थे।
जब रेल आई तो चक्कियाँ एक के बाद एक बंद हो गईं। क्या बच्चे चले गए? अधिकतर चले गए, पर कुछ लोग लौट \
आए और उन्होंने रोटी और किताबों की छोटी दुकानें खोलीं।"""

_ARABIC = """ينبع النهر من التلال التي تقع فوق المدينة ويجري أربعين ميلا إلى البحر. في كل ربيع \
يذوب الثلج وتنزل المياه سريعة ومعها أغصان وحجارة.
يعيش الناس على ضفافه منذ زمن طويل. بنوا طواحين من الحجر الرمادي، ثم بنوا جسرا لا يزال يحمل \
الطريق. كان بعضهم يصيد السمك وكان آخرون يربون الغنم على المنحدرات.
عندما جاء القطار أغلقت الطواحين واحدة بعد أخرى. هل رحل الأطفال؟ رحل أكثرهم، لكن قلة منهم عادت \
لتفتح متاجر صغيرة تبيع الخبز والكتب."""

_KOREAN = """이 강은 도시 위쪽의 언덕에서 시작되어 사십 마일을 흘러 바다로 들어간다. 해마다 \
봄이 되면 눈이 녹아 흙탕물이 나뭇가지와 돌을 싣고 빠르게 흘러내린다.
사람들은 오래전부터 강가에 살았다. 그들은 회색 돌로 물레방앗간을 짓고 나중에는 다리를 놓았는데, \
그 다리는 지금도 길을 받치고 있다. 어떤 이는 물고기를 잡고 어떤 이는 산비탈에서 양을 길렀다.
철도가 들어오자 방앗간은 하나씩 문을 닫았다. 아이들은 모두 떠났을까? 대부분은 떠났지만 몇몇은 \
돌아와 빵과 책을 파는 작은 가게를 열었다."""

_BY_LANGUAGE = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "zh": _CHINESE,
    "ja": _JAPANESE,
    "th": _THAI,
    "hi": _HINDI,
    "ar": _ARABIC,
    "ko": _KOREAN,
}


@pytest.fixture(scope="session")
def prose() -> dict[str, str]:
    """A text of about a hundred words in each language."""
    return _BY_LANGUAGE
