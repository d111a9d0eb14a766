"""The server answers as the model does, refuses in words, and shows nothing else."""

import asyncio
import contextlib
import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from served import Server, chromium_page, random_model

testclient = pytest.importorskip("fastapi.testclient")
httpx = pytest.importorskip("httpx")
app_module = pytest.importorskip("trax_triplet.inference.service")
limits = pytest.importorskip("trax_triplet.inference.request_limits")


@pytest.fixture(scope="module")
def trained():
    return random_model()


@pytest.fixture(scope="module")
def client(trained):
    # A server's error is to be seen as a client sees it.
    with testclient.TestClient(
        app_module.create_app(trained), raise_server_exceptions=False
    ) as client:
        yield client


PAIRS = [("How old are you?", "Are you old?"), ("", "Where?"), ("ß\x00", "Wo ist zyx zyx?")]


def body_of(pairs, **more):
    return {"pairs": [{"question1": a, "question2": b} for a, b in pairs], **more}


def test_similarities_are_the_models(client, trained):
    answer = client.post("/similarity", json=body_of(PAIRS)).json()
    assert answer["threshold"] == 0.25
    scores = trained.similarity(*zip(*PAIRS))
    assert [row["similarity"] for row in answer["answers"]] == pytest.approx(scores, abs=1e-6)
    assert [row["is_duplicate"] for row in answer["answers"]] == (scores > 0.25).tolist()
    assert set(answer["answers"][0]) == {"similarity", "is_duplicate"}
    answer = client.post("/similarity", json=body_of(PAIRS[1:2], unknown_words=True)).json()
    assert answer["answers"][0]["unknown1"] == answer["answers"][0]["unknown2"] == []
    pair = [("Wo ist zyx zyx?", "IS it?")]
    [answer] = client.post("/similarity", json=body_of(pair, unknown_words=True)).json()["answers"]
    assert (answer["unknown1"], answer["unknown2"]) == (["wo", "ist", "zyx"], ["it"])


def test_without_a_threshold_nothing_is_called_a_duplicate():
    with testclient.TestClient(app_module.create_app(random_model(threshold=None))) as client:
        answer = client.post("/similarity", json=body_of(PAIRS[:1])).json()
    assert answer["threshold"] is None and answer["answers"][0]["is_duplicate"] is None


def test_vectors_are_the_models(client, trained):
    questions = ["How old?", "", "Where?"]
    vectors = client.post("/embed", json={"questions": questions}).json()["vectors"]
    np.testing.assert_allclose(vectors, trained.embed(questions), atol=1e-6)


def test_says_that_it_lives_and_which_model_it_has(client, trained):
    assert client.get("/health").json() == {"status": "ok"}
    about = client.get("/model").json()
    assert about["threshold"] == 0.25 and about["vocab_size"] == len(trained.vocabulary)
    assert about["settings"] == trained.settings and about["pooling"] == "last"
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/similarity", "/embed", "/health", "/model"}


def test_pages_need_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    docs = client.get("/docs").text
    for html in (page.text, docs):
        assert re.findall(r"(?:src|href)=\W?(?:https?:)?//[^\"' ]+", html) == []
    for link in re.findall(r"(?:src|href)=[\"'](/[^\"']+)", docs):
        assert client.get(link).status_code == 200


LONG = "a" * (limits.MAX_CHARACTERS + 1)


@pytest.mark.parametrize(
    "path, body, status, phrase",
    [
        ("similarity", "{", 422, "JSON"),
        ("similarity", "[1]", 422, "dictionary"),
        ("similarity", b"\xff\xfe", 422, "JSON|dictionary|unicode|Unicode|parsing"),
        ("similarity", "[" * 10**5, 4, "JSON|recursion|parsing"),
        ("similarity", {}, 422, "pairs: Field required"),
        ("similarity", {"pairs": []}, 422, "pairs: List should have at least 1 item"),
        (
            "similarity",
            {"pairs": [{"question1": "a"}]},
            422,
            r"pairs\.0\.question2: Field required",
        ),
        ("similarity", body_of([("a", 3)]), 422, r"pairs\.0\.question2: .* valid string"),
        ("similarity", body_of([("a", "\ud800")]), 422, r"pairs\.0\.question2: .* valid string"),
        ("similarity", body_of([("a", LONG)]), 422, r"question2: .* at most 10000 characters"),
        ("similarity", body_of([("a", "b")] * 1001), 422, "pairs: List should have at most 1000"),
        ("similarity", {"pairs": [{"question1": "a", "question2": "b", "id": 3}]}, 422, "0.id: Ex"),
        (
            "similarity",
            body_of([("a", "b")], threshold=0.9),
            422,
            "threshold: Extra inputs are not",
        ),
        ("similarity", '{"pairs": [{"question1": "a", "question2": NaN}]}', 422, "valid string"),
        (
            "similarity?threshold=0.9",
            body_of([("a", "b")]),
            422,
            "no parameters, such as threshold",
        ),
        ("embed", {"questions": ["a"], "normalise": True}, 422, "normalise: Extra inputs"),
        ("embed", {"questions": "How?"}, 422, "questions: .* valid list"),
        ("embed", {"questions": ["a"] * 2001}, 422, "questions: List should have at most 2000"),
        ("embed", {"questions": ["a" * 10**4] * 300}, 413, "more than 2,097,152 bytes"),
        ("nothing", {}, 404, "Not Found"),
        ("health", {}, 405, "Method Not Allowed"),
        ("../setup.cfg", {}, 404, "Not Found"),
        ("static-offline-docs/..%2fcore.py", {}, 40, "Not"),
    ],
)
def test_bad_requests_are_refused_in_words(client, path, body, status, phrase):
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    answer = client.post(f"/{path}", content=content, headers={"content-type": "application/json"})
    assert str(answer.status_code).startswith(str(status))
    detail = answer.json()["detail"]
    assert re.search(phrase, detail) and len(detail) < 300 and "Traceback" not in detail


def test_an_error_of_the_servers_own_shows_no_traceback(trained, monkeypatch):
    app = app_module.create_app(trained)

    def fail(self, questions):
        raise RuntimeError("a secret")

    monkeypatch.setattr(app_module.Batches, "ask", fail)
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/embed", json={"questions": ["Why?"]})
    assert answer.status_code == 500 and answer.text == "Internal Server Error"


def test_a_body_that_does_not_come_is_given_up(trained):
    app = app_module.create_app(trained, limits=limits.Limits(body_seconds=0.05))
    sent = []

    async def receive():
        if sent or received:
            await asyncio.sleep(30)
        received.append(True)
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message):
        sent.append(message)

    async def gone():
        return {"type": "http.disconnect"}

    received = []
    scope = {"type": "http", "method": "POST", "path": "/embed", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408 and b"within 0.05 seconds" in sent[1]["body"]
    assert (b"connection", b"close") in sent[0]["headers"]
    asyncio.run(app(scope, gone, send))
    assert len(sent) == 2  # there is nobody to answer


# --- the process ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    trained.save(folder)
    server = Server(folder)
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.communicate()


@pytest.mark.parametrize("host, shown", [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_address_is_told_once_somebody_can_connect(monkeypatch, host, shown):
    app, told = object(), []

    def run(server, sockets):
        [bound] = sockets
        assert server.config.app is app and not server.config.server_header
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        [line] = told
        port = int(re.fullmatch(rf"serving on http://{re.escape(shown)}:(\d+) .*", line)[1])
        socket.create_connection((host, port)).close()
        with pytest.raises(OSError, match=f"in use.*{re.escape(host)}:{port}"):
            app_module.run(app, host, port, told.append)
        told.append(port)

    monkeypatch.setattr(app_module.uvicorn.Server, "run", run)
    app_module.run(app, host, 0, told.append)
    with pytest.raises(ConnectionRefusedError):  # it is closed in the end
        socket.create_connection((host, told[1]))


@pytest.mark.slow
def test_each_of_many_clients_gets_its_own_answers(server, trained):
    words = ["how", "old", "are", "you", "where", "is", "the", "station", "?"]
    random = np.random.default_rng(3)
    questions = [" ".join(random.choice(words, 6)) for _ in range(800)]
    expected = dict(zip(questions, trained.embed(questions)))

    def ask(part):
        with httpx.Client(base_url=server.url) as client:
            for question in part:
                answer = client.post("/embed", json={"questions": [question]}).json()
                np.testing.assert_allclose(answer["vectors"][0], expected[question], atol=1e-6)
        return len(part)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, [questions[n::16] for n in range(16)])) == 800


GARBAGE = [
    b"",
    b"\x16\x03\x01\x02\x00\x01\x00",  # who speaks TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /embed HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",  # half a body
    b"A" * 10**6,
    b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
]


@pytest.mark.slow
def test_lives_on_after_clients_that_hang_or_send_garbage(server):
    hanging = [socket.create_connection(server.address) for _ in range(20)]
    for n, connection in enumerate(hanging):
        connection.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"[: 5 * n])
    for garbage in GARBAGE:
        with socket.create_connection(server.address, timeout=30) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            try:
                while chunk := connection.recv(2**16):
                    found += chunk
            except ConnectionResetError:
                pass
        assert b"root:" not in found and b"Traceback" not in found
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    for connection in hanging:
        connection.close()


@pytest.mark.slow
def test_serve_says_what_is_wrong_before_it_serves(server, tmp_path):
    from trax_triplet import cli

    port = str(server.address[1])
    model = random_model()
    model.save(tmp_path / "model")
    assert cli.main(["serve", "--model", str(tmp_path / "model"), "--port", port]) == 2
    assert cli.main(["serve", "--model", str(tmp_path / "nowhere")]) == 2
    assert cli.main(["serve", "--model", str(tmp_path / "model"), "--port", "70000"]) == 2


@pytest.mark.slow
def test_the_page_in_a_browser(server, trained):
    with chromium_page(width=360) as (page, asked, wrong):
        page.goto(server.url)
        # The first field has the focus, once the page is drawn.
        page.wait_for_function("document.activeElement.id === 'question1'")
        first, second = "How old <b>zyx</b> is she?", "Are you old?"
        page.keyboard.type(first)
        page.keyboard.press("Tab")
        page.keyboard.type(second)
        page.keyboard.press("Enter")
        page.wait_for_selector(".verdict")
        [similarity] = trained.similarity([first], [second])
        assert f"Similarity {similarity:.3f}" in page.inner_text("#result")
        assert page.locator(".words b").all_inner_texts() == ["<", "b", ">", "zyx", "/", "she"]
        label = page.get_attribute(".scale", "aria-label")
        assert label == f"similarity {similarity:.3f} on a scale from -1 to 1, threshold 0.250"
        track, bar, mark = (
            page.locator(name).bounding_box() for name in (".track", ".bar", ".mark")
        )
        middle = track["x"] + track["width"] / 2
        assert bar["width"] == pytest.approx(abs(similarity) * track["width"] / 2, abs=1)
        assert mark["x"] - middle == pytest.approx(0.25 * track["width"] / 2, abs=2)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert wrong == [] and {url.split("/")[2] for url in asked} == {server.url.split("/")[2]}
        assert page.locator("#search").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, status", [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_what_was_asked_before_it_is_stopped_is_answered(trained, tmp_path, number, status):
    trained.save(tmp_path / "model")
    server = Server(tmp_path / "model")
    body = json.dumps({"questions": ["How old are you?"]}).encode()
    head = (
        "POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # the request is being read
        server.process.send_signal(number)
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
            while True:  # until it takes no more
                socket.create_connection(server.address).close()
        connection.sendall(body)
        answer = b""
        while chunk := connection.recv(2**16):
            answer += chunk
    vectors = json.loads(answer.split(b"\r\n\r\n")[1])["vectors"]
    np.testing.assert_allclose(vectors, trained.embed(["How old are you?"]), atol=1e-6)
    _, err = server.process.communicate(timeout=30)
    assert server.process.returncode == status and "Traceback" not in err
