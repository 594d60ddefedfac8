"""Whose price a model has, and what a call costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from shouldtune.judgement import Price
from shouldtune.models.bill import Bill, Size, at_price, lost_calls
from shouldtune.models.prices import id_of, is_remote, listed_price, price_of
from shouldtune.models.remote import Remote, remote_of
from shouldtune.task import load_task
from shouldtune.task.file import prices_of, training_price_of
from shouldtune.types import Completion, Message, Options
from tests.conftest import MakeTask, numbered_rows


def test_a_list_price_is_that_of_the_packages_own_calculation() -> None:
    from genai_prices import Usage, __version__, calc_price

    price = listed_price("openai:gpt-5-mini")
    assert price is not None
    theirs = calc_price(
        Usage(input_tokens=10_000, cache_read_tokens=6_000, output_tokens=700),
        "gpt-5-mini",
        provider_id="openai",
        genai_request_timestamp=datetime.now(UTC),
    )
    assert price.of(10_000, 700, 6_000) == pytest.approx(float(theirs.total_price))
    assert price.source.startswith(f"genai-prices {__version__}, as of 20")
    assert date.fromisoformat(price.source[-10:]) <= datetime.now(UTC).date()


def test_a_price_is_known_by_the_address_and_not_by_the_name() -> None:
    assert listed_price("http://127.0.0.1:8000/v1#gpt-5-mini") is None
    assert listed_price("https://api.openai.com/v1#gpt-5-mini") == listed_price("openai:gpt-5-mini")
    assert listed_price("openai:no-such-model") is None
    assert listed_price("openai:text-embedding-3-small") is None  # it writes nothing
    assert listed_price("smollm2") is None
    assert listed_price("https://api.perplexity.ai#sonar") is None  # it asks a fee by the request beside the tokens


def test_a_price_with_a_tier_for_long_prompts_is_unknown_beyond_it() -> None:
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TieredPrices

    price = listed_price("https://api.anthropic.com/v1#claude-sonnet-4-5")
    assert price is not None and price.up_to is not None
    listed = get_snapshot().find_provider_model("claude-sonnet-4-5", None, "anthropic", None)[1]
    tiers = listed.get_prices(datetime.now(UTC)).input_mtok
    assert isinstance(tiers, TieredPrices) and tiers.base == Decimal(str(price.read))
    assert price.of(price.up_to, 10) is not None
    assert price.of(price.up_to + 1, 10) is None


def test_a_users_own_price_comes_before_the_list() -> None:
    own = Price(1.0, 2.0)
    assert price_of("openai:gpt-5-mini", {"openai:gpt-5-mini": own}) == own
    assert price_of("openai:gpt-5-mini", {"openai:gpt-5": own}) == listed_price("openai:gpt-5-mini")
    assert price_of("smollm2", {}) is None


def test_a_remote_models_spec_leads_back_to_its_id() -> None:
    for model_id in ("openai:gpt-5-mini", "http://127.0.0.1:8000/v1#m"):
        assert is_remote(model_id)
        url, _, name = model_id.partition("#")
        model = Remote(name, url) if name else Remote("gpt-5-mini", "https://api.openai.com/v1", "OPENAI_API_KEY")
        assert id_of(model.spec()) == model_id
    assert id_of({"kind": "local", "model": "smollm2"}) is None


def test_cached_tokens_have_their_own_price_and_unreported_ones_none() -> None:
    price = Price(2.0, 8.0, cached=0.5)
    assert price.of(1_000_000, 100_000, 400_000) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 8)
    assert price.of(1_000_000, 0) == price.of(1_000_000, 0, 0) == pytest.approx(2.0)
    assert Price(2.0, 8.0).of(1_000_000, 0, 400_000) == pytest.approx(2.0)
    assert price.of(None, 5) is None and price.of(5, None) is None
    assert str(price) == "$2 read, $0.5 cached, $8 written per million tokens (your price table)"


def test_a_lost_call_may_have_been_billed_and_a_refused_one_was_not() -> None:
    lost = Completion("", error="no answer within 120 s", latency_s=120.0)
    assert lost_calls(lost) == lost_calls(replace(lost, failure="unknown")) == 1
    assert lost_calls(replace(lost, failure="unknown", lost=2)) == 2  # it is one of them
    assert lost_calls(replace(lost, failure="malformed", lost=1)) == 2  # answered, and what that cost is not known
    assert lost_calls(replace(lost, cost_usd=0.0)) == 0
    assert lost_calls(replace(lost, cost_usd=0.0, lost=1)) == 1
    assert lost_calls(Completion("a", 10, 10)) == 0
    assert lost_calls(Completion("a", 10, 10, lost=3)) == 3


def test_an_answer_is_priced_by_its_tokens_unless_they_cannot_be_true() -> None:
    price, size = Price(1.0, 1.0), Size.of([Message("user", "q" * 1000)], Options())
    answer = Completion("a" * 300, 250, 75, cost_usd=9.0)
    assert at_price(answer, price, size).cost_usd == pytest.approx(325 / 1e6)
    assert at_price(answer, None, size) == answer
    for wrong in ({"prompt_tokens": None}, {"prompt_tokens": 0}, {"prompt_tokens": 7}, {"completion_tokens": 0}):
        assert at_price(replace(answer, **wrong), price, size).cost_usd is None
    failed = Completion("", error="HTTP 429", cost_usd=0.0)
    assert at_price(failed, price, size) == failed


def test_the_most_that_a_call_can_cost_is_more_than_it_costs() -> None:
    price = Price(3.0, 15.0, cached=5.0)  # a cached token that is dearer is counted at its own price
    messages = [Message("system", "sé"), Message("user", "q" * 90)]
    most = Size.of(messages, Options(max_tokens=7)).dollars(price)
    assert most is not None
    assert most >= (93 * 5.0 + 7 * 15.0) / 1e6
    asked = Options(max_tokens=7, choices=("a" * 500,))
    assert (Size.of(messages, asked).dollars(price) or 0.0) >= most + 500 * 5.0 / 1e6
    offered = Options(max_tokens=7, tools=({"description": "é" * 500},))
    assert (Size.of(messages, offered).dollars(price) or 0.0) >= most + 1000 * 5.0 / 1e6
    assert Size.of(messages, Options()).dollars(replace(price, up_to=100)) is None


def test_a_bill_knows_dollars_from_machine_time_and_does_not_mind_the_order() -> None:
    bought = [Completion("a", 10, 1, cached_tokens=4, latency_s=0.1 * i, cost_usd=0.1 * i) for i in range(1, 9)]
    here = Completion("b", 5, 5, compute_s=2.0, latency_s=9.0)

    def bill(*completions: Completion) -> Bill:
        made = Bill()
        for completion in completions:
            made.add(completion)
        return made

    assert bill(here, *bought).spent() == bill(*reversed(bought), here).spent()
    total = bill(here, *bought).spent()
    assert (total.usd, total.cached_tokens, total.calls) == (pytest.approx(3.6), 32, 9)
    assert (total.seconds, bill(*bought).spent().seconds) == (2.0, 0.0)  # latencies overlap
    assert bill(here).spent().usd is None
    assert bill().spent().usd is None
    assert bill(*bought, Completion("c", latency_s=1.0)).spent().usd is None
    assert bill(*bought, Completion("", error="lost", latency_s=1.0)).spent().usd == pytest.approx(3.6)


def test_unknown_outcomes_stand_beside_what_is_known() -> None:
    bill = Bill()
    bill.add(Completion("a", 10, 1, latency_s=0.1, cost_usd=0.1), [0.5, 0.25])
    assert (bill.spent().usd, bill.spent().unknown_calls, bill.spent().unknown_usd) == (0.1, 2, 0.75)
    bill.add(Completion("a", 10, 1, latency_s=0.1, cost_usd=0.1), [None])
    assert (bill.spent().unknown_calls, bill.spent().unknown_usd) == (3, None)


def test_the_task_says_which_price_is_used_and_when_none_is_known(make_task: MakeTask) -> None:
    listed = load_task(make_task(numbered_rows(60), model="openai:gpt-5-mini"))
    assert listed.economics.prompt_price == listed_price("openai:gpt-5-mini")
    assert f"price of openai:gpt-5-mini: {listed.economics.prompt_price}" in listed.notes
    unknown = load_task(make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m"))
    assert unknown.economics.prompt_price is None
    assert "price of http://127.0.0.1:9/v1#m: not known (`prices:` in the task file can say it)" in unknown.notes
    own = {"http://127.0.0.1:9/v1#m": {"read": 1, "written": 4, "cached": 0.1}}
    assert load_task(make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m", prices=own)).economics == (
        load_task(make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m", prices=own)).economics
    )
    priced = load_task(make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m", prices=own))
    assert priced.economics.prompt_price == Price(1, 4, cached=0.1)
    assert load_task(make_task(numbered_rows(60))).economics.prompt_price is None  # a model that runs here


@pytest.mark.parametrize("named", ["azure:m", "http://127.0.0.1:9/v1/#m", "https://api.together.ai/v1#m", "groq:m"])
def test_a_price_is_found_by_the_name_that_the_ledger_has_for_the_model(
    named: str, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com")
    table = {named: {"read": 1, "written": 4, "training": 9}}
    file = load_task(make_task(numbered_rows(60), model=named, prices=table)).file
    in_ledger = id_of(remote_of(named).spec())
    assert in_ledger is not None
    for name in (named, in_ledger):
        training = training_price_of(file, name)
        assert prices_of(file)(name) == Price(1, 4) and training is not None and training.usd == 9
    assert prices_of(file)("http://127.0.0.1:9/v1#other") is None
