"""An index behind the server: found, added to, saved, refused, and labelled on the page."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from served import Server, chromium_page, random_model

from trax_triplet import cli, read_pairs
from trax_triplet.search.index import QuestionIndex

testclient = pytest.importorskip("fastapi.testclient")
httpx = pytest.importorskip("httpx")
pairs_service = pytest.importorskip("trax_triplet.inference.service")
service = pytest.importorskip("trax_triplet.search.service")
served_index = pytest.importorskip("trax_triplet.search.served_index")

QUESTIONS = [
    "How old are you?",
    "Where is the station?",
    "How old is the station?",
    "are you the station?",
    "???",
]


@pytest.fixture(scope="module")
def trained():
    return random_model()


@pytest.fixture
def folder(trained, tmp_path):
    QuestionIndex.build(QUESTIONS, model=trained).save(tmp_path / "idx")
    return tmp_path / "idx"


@pytest.fixture
def client(trained, folder):
    with testclient.TestClient(service.create_search_app(trained, folder)) as client:
        yield client


def added(*rows):
    return {"questions": [{"id": id, "question": question} for id, question in rows]}


def test_the_nearest_are_those_of_the_index(client, folder):
    queries = ["How old is she?", "", "station"]
    answer = client.post("/search", json={"questions": queries, "top": 3}).json()
    assert answer["threshold"] == 0.25 and answer["approximate"] is False
    expected = QuestionIndex.load(folder).search(queries, 3)
    assert [len(hits) for hits in answer["answers"]] == [3, 0, 3]
    for found, hits in zip(answer["answers"], expected):
        assert [(hit["id"], hit["question"]) for hit in found] == [
            (hit.id, hit.question) for hit in hits
        ]
        assert [hit["similarity"] for hit in found] == pytest.approx(
            [hit.similarity for hit in hits], abs=1e-6
        )
        assert [hit["is_duplicate"] for hit in found] == [hit.similarity > 0.25 for hit in hits]
    assert len(client.post("/search", json={"questions": ["old"]}).json()["answers"][0]) == 5


def test_without_an_index_there_are_no_such_addresses(trained):
    with testclient.TestClient(pairs_service.create_app(trained)) as client:
        assert client.get("/model").json()["index"] is None
        for path in ("search", "add"):
            assert client.post(f"/{path}", json={}).status_code == 404


def test_what_is_added_is_found_and_is_on_the_disk(client, folder):
    rows = [("a", "Are you old?"), ("b", 'Who is "she"?\nShe.')]
    assert client.post("/add", json=added(*rows)).json() == {"added": 2, "questions": 7}
    [hits] = client.post("/search", json={"questions": ["Are you old?"], "top": 1}).json()[
        "answers"
    ]
    assert hits[0]["id"] == "a" and hits[0]["similarity"] == pytest.approx(1, abs=1e-6)
    again = QuestionIndex.load(folder)
    assert again.ids == ["1", "2", "3", "4", "5", "a", "b"]
    assert again.search([rows[1][1]], 1)[0][0].question == rows[1][1]
    assert client.get("/model").json()["index"] == {
        "questions": 7,
        "approximate": False,
        "recall": 1.0,
    }


LONG = "a" * 10_001


@pytest.mark.parametrize(
    "path, body, status, phrase",
    [
        ("search", {}, 422, "questions: Field required"),
        ("search", {"questions": []}, 422, "questions: .* at least 1 item"),
        ("search", {"questions": ["a"] * 101}, 422, "questions: .* at most 100 items"),
        ("search", {"questions": [LONG]}, 422, r"questions\.0: .* at most 10000 characters"),
        ("search", {"questions": ["a"], "top": 0}, 422, "top: .* greater than or equal to 1"),
        ("search", {"questions": ["a"], "top": 101}, 422, "top: .* less than or equal to 100"),
        ("search", {"questions": ["a"], "top_k": 3}, 422, "top_k: Extra inputs are not permitted"),
        ("search?top=3", {"questions": ["a"]}, 422, "takes no parameters, such as top"),
        ("add", added(("x", "old?")) | {"replace": True}, 422, "replace: Extra inputs"),
        ("add", {"questions": [{"id": "x", "question": "a", "tag": 1}]}, 422, r"questions\.0\.tag"),
        ("add", {"questions": ["a"]}, 422, r"questions\.0: .* dictionary"),
        ("add", added(("1", "old?")), 409, "the id '1' is in the index already; nothing was"),
        ("add", added(("x", "old?"), ("5", "old")), 409, "the id '5' is in the index already"),
        ("add", added(("x", "old?"), ("x", "old")), 422, "the id 'x' comes 2 times; nothing was"),
        ("add", added((" ", "old?")), 422, r"questions\.0\.id: .* not be blank"),
        ("add", added(("x", " \n")), 422, r"questions\.0\.question: .* not be blank"),
        ("add", added((7, "old?")), 422, r"questions\.0\.id: .* valid string"),
        ("add", added(("x" * 201, "old?")), 422, r"questions\.0\.id: .* at most 200 characters"),
        ("add", added(("x", "\ud800")), 422, r"questions\.0\.question: .* valid string"),
        ("add", added(*((str(n), "a") for n in range(10, 2011))), 422, "at most 2000 items"),
        ("add", added(("x", "a" * 10_000)) | {"more": "a" * 2**21}, 413, "more than 2,097,152"),
    ],
)
def test_bad_requests_are_refused_in_words_and_add_nothing(
    client, folder, path, body, status, phrase
):
    headers = {"content-type": "application/json"}
    answer = client.post(f"/{path}", content=json.dumps(body), headers=headers)
    detail = answer.json()["detail"]
    assert answer.status_code == status and re.search(phrase, detail) and len(detail) < 300
    assert str(folder) not in detail and "Traceback" not in detail
    assert len(QuestionIndex.load(folder)) == client.get("/model").json()["index"]["questions"] == 5


def test_pages_of_other_sites_are_refused(client, folder):
    for site in ("cross-site", "same-site"):
        answer = client.post("/add", json=added(("x", "old?")), headers={"sec-fetch-site": site})
        assert answer.status_code == 403 and "other sites" in answer.json()["detail"]
    assert len(QuestionIndex.load(folder)) == 5
    headers = {"sec-fetch-site": "same-origin"}
    assert client.post("/add", json=added(("x", "old?")), headers=headers).status_code == 200


def test_what_cannot_be_saved_is_not_found_either(client, folder, monkeypatch):
    def full(self, folder):
        raise OSError(28, "No space left on device", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(QuestionIndex, "save", full)
        answer = client.post("/add", json=added(("x", "old?")))
    assert answer.status_code == 503
    assert answer.json()["detail"] == (
        "the index cannot be saved: No space left on device; nothing was added"
    )
    [hits] = client.post("/search", json={"questions": ["old?"]}).json()["answers"]
    assert "x" not in {hit["id"] for hit in hits} and len(QuestionIndex.load(folder)) == 5
    assert client.post("/add", json=added(("x", "old?"))).status_code == 200


def test_what_another_process_adds_or_removes_is_kept(client, folder):
    index = QuestionIndex.load(folder)
    index.add(["Who is old?"], ids=["theirs"])
    index.remove(["2"])
    index.save(folder)
    assert client.post("/add", json=added(("theirs", "old?"))).status_code == 409
    assert client.post("/add", json=added(("ours", "old?"))).json() == {"added": 1, "questions": 6}
    assert QuestionIndex.load(folder).ids == ["1", "3", "4", "5", "theirs", "ours"]


def test_another_models_index_in_the_folder_is_not_added_to(client, folder):
    shutil.rmtree(folder)
    QuestionIndex.build(QUESTIONS[:2], model=random_model(seed=1)).save(folder)
    answer = client.post("/add", json=added(("x", "old?")))
    assert answer.status_code == 503 and "cannot be used here" in answer.json()["detail"]
    assert len(QuestionIndex.load(folder)) == 2


def test_an_index_that_was_moved_away_is_told_as_such(client, folder):
    folder.rename(folder.with_name("elsewhere"))
    answer = client.post("/add", json=added(("x", "old?")))
    assert answer.status_code == 503 and "no longer there; nothing" in answer.json()["detail"]
    assert not folder.exists() and len(QuestionIndex.load(folder.with_name("elsewhere"))) == 5


def test_indexes_that_do_not_fit_are_refused_at_the_start(trained, folder, tmp_path):
    with pytest.raises(ValueError, match="built with another model"):
        service.create_search_app(random_model(seed=1), folder)
    with pytest.raises(FileNotFoundError, match="no index in"):
        service.create_search_app(trained, tmp_path / "nowhere")
    QuestionIndex.build(np.eye(8)).save(tmp_path / "vectors")
    with pytest.raises(ValueError, match="made of vectors"):
        service.create_search_app(trained, tmp_path / "vectors")


@pytest.mark.parametrize("approximate", [False, True])
def test_searches_beside_additions_see_whole_ones(trained, tmp_path, approximate):
    if approximate:
        pytest.importorskip("faiss")
    words = "how old are you where is the station".split()
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(words, 5)) for _ in range(80)]
    index = QuestionIndex.build(texts[:40], model=trained, approximate=approximate)
    index.save(tmp_path / "idx")
    served = served_index.ServedIndex(tmp_path / "idx", trained)
    before = served.current

    def add(n):  # four questions at once
        names = [f"{n}.{k}" for k in range(4)]
        return served.add([(texts[40 + 4 * n : 44 + 4 * n], names)])

    def look(n):
        # All are asked for: of each addition all four are there, or none.
        [hits] = served.search([(texts[n], 80)])
        counts = [hit.id.split(".")[0] for hit in hits if "." in hit.id]
        return all(counts.count(name) == 4 for name in counts), len(hits)

    with ThreadPoolExecutor(8) as pool:
        adding = [pool.submit(add, n) for n in range(10)]
        seen = list(pool.map(look, range(40)))
    assert sorted(job.result()[0] for job in adding) == list(range(44, 81, 4))
    assert all(whole for whole, _ in seen)
    assert {size % 4 for _, size in seen} == {0} or approximate
    assert len(before) == 40 and len(served.current) == 80
    assert sorted(QuestionIndex.load(tmp_path / "idx").ids) == sorted(served.current.ids)


def test_of_several_additions_saved_at_once_the_good_ones_are_added(trained, folder, monkeypatch):
    served = served_index.ServedIndex(folder, trained)
    saved, save = [], QuestionIndex.save
    monkeypatch.setattr(QuestionIndex, "save", lambda *args: (saved.append(1), save(*args)))
    requests = [(["old?"], ["a"]), (["where?"], ["1"]), (["are you?"], ["a"]), (["how?"], ["b"])]
    first, second, third, last = served.add(requests)
    assert (first, last, len(saved)) == (6, 7, 1)
    assert (second.status, third.status) == (409, 409) and "'1'" in str(second)
    assert QuestionIndex.load(folder).ids == served.current.ids == [*"12345ab"]
    [error] = served.add(requests[:1])
    assert error.status == 409 and len(saved) == 1  # there was nothing to save


def test_serve_refuses_an_index_that_does_not_fit_in_one_line(trained, folder, tmp_path, capsys):
    random_model(seed=1).save(tmp_path / "other")
    command = ["serve", "--model", str(tmp_path / "other"), "--index"]
    assert cli.main([*command, str(folder)]) == 2
    err = capsys.readouterr().err
    assert "built with another model" in err and err.count("\n") == 1
    assert cli.main([*command, str(tmp_path / "nowhere")]) == 2
    assert "there is no index in" in capsys.readouterr().err
    assert cli.main(["serve"]) == 2
    assert "serve takes --model, or --index" in capsys.readouterr().err


def test_serve_answers_by_the_indexs_own_model(trained, folder, tmp_path, capsys, monkeypatch):
    taken = []
    monkeypatch.setattr(pairs_service, "run", lambda app, *args: taken.append(app))
    assert cli.main(["serve", "--index", str(folder)]) == 0
    with testclient.TestClient(taken[0]) as client:
        vectors = client.post("/embed", json={"questions": QUESTIONS}).json()["vectors"]
        assert client.get("/model").json()["index"]["questions"] == len(QUESTIONS)
    np.testing.assert_allclose(vectors, trained.embed(QUESTIONS), atol=1e-6)
    QuestionIndex.build(np.eye(8)).save(tmp_path / "vectors")
    assert cli.main(["serve", "--index", str(tmp_path / "vectors")]) == 2
    assert "made of vectors" in capsys.readouterr().err


# --- the process ----------------------------------------------------------------------------------


@pytest.fixture
def server(trained, folder, tmp_path):
    trained.save(tmp_path / "model")
    server = Server(tmp_path / "model", "--index", str(folder))
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.mark.slow
def test_many_clients_add_and_search_and_a_kill_loses_nothing(server, trained, folder):
    def ask(client_number):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for n in range(5):
                name = f"{client_number}-{n}"
                body = added((name, f"how old is {client_number} {n} the station"))
                assert client.post("/add", json=body).status_code == 200
                assert client.post("/add", json=body).status_code == 409
                for query in QUESTIONS[:3]:
                    found = client.post("/search", json={"questions": [query], "top": 1}).json()
                    assert found["answers"][0][0]["question"] == query
        return 5

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 40
    server.process.kill()
    index = QuestionIndex.load(folder)
    assert len(index) == 45 and {f"{c}-{n}" for c in range(8) for n in range(5)} < set(index.ids)


@pytest.mark.slow
def test_labels_of_the_page_are_pairs_to_train_on(server, trained, folder, tmp_path):
    query = '=How "old", is\nzyx?'
    with chromium_page(width=400) as (page, asked, wrong):
        page.goto(server.url)
        page.wait_for_selector("#search:not([hidden])")
        page.keyboard.type('=How "old", is')  # the field has the focus
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("zyx?")
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit")
        hits = QuestionIndex.load(folder).search([query], 10)[0]
        assert page.locator(".hit p").all_inner_texts() == [hit.question for hit in hits]
        above = sum(hit.similarity > 0.25 for hit in hits)
        assert f"{above} of 5 are above the threshold 0.250" in page.inner_text("#found")
        label = page.locator(".hit .scale").first.get_attribute("aria-label")
        assert label.startswith(f"similarity {hits[0].similarity:.3f} on a scale from -1 to 1")
        track, bar, mark = (
            page.locator(f".hit {name}").first.bounding_box()
            for name in (".track", ".bar", ".mark")
        )
        half = track["width"] / 2
        assert bar["width"] == pytest.approx(abs(hits[0].similarity) * half, abs=1)
        assert mark["x"] - track["x"] - half == pytest.approx(0.25 * half, abs=2)
        for _ in range(3):  # past the button and the number, by keyboard alone
            page.keyboard.press("Tab")
        page.keyboard.press("Space")  # the first is a duplicate
        page.locator(".hit >> nth=1").get_by_text("not a duplicate").click()
        page.locator(".hit >> nth=2").get_by_text("not a duplicate").click()
        page.locator(".hit >> nth=2").get_by_text("not a duplicate").click()  # taken back
        assert page.inner_text("#count") == "2 labels: 1 duplicate, 1 not"
        page.reload()  # which loses nothing
        page.wait_for_selector("#labels:not([hidden])")
        with page.expect_download() as safe:
            page.get_by_text("Download as CSV").click()
        page.locator("#guard").uncheck()
        with page.expect_download() as plain:
            page.get_by_text("Download as CSV").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert wrong == [] and {url.split("/")[2] for url in asked} == {server.url.split("/")[2]}
        paths = [done.value.path() for done in (plain, safe)]
        plain, safe = (read_pairs(path) for path in paths)
    assert plain.question1 == (query, query) and plain.skipped == plain.notes == ()
    assert plain.question2 == tuple(hit.question for hit in hits[:2])
    assert plain.is_duplicate.tolist() == [1, 0]
    assert safe.question1 == (f"'{query}",) * 2
