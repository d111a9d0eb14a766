"""The API as its users write it, for pyright: run by nobody, checked by types.

An annotation on the left holds what a function promises to return.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import trax_triplet
from trax_triplet import (
    Pairs,
    Siamese,
    TrainedModel,
    TripletLoss,
    Vocabulary,
    evaluate,
    load_model,
    load_trax_model,
    read_pairs,
    sample,
    save_model,
    split_pairs,
    train,
    triplet_loss,
)
from trax_triplet import course as assignment
from trax_triplet.checks import CheckResult, check
from trax_triplet.course import classify, data_generator, predict, train_model
from trax_triplet.evaluation import Confusion, Threshold, best_threshold, confusion, roc_auc
from trax_triplet.keras import (
    ModifiedTripletLoss,
    RankingLoss,
    export,
    from_keras,
    pairs_dataset,
    to_keras,
)
from trax_triplet.plots import learning_curve, score_histogram, similarity_heatmap


def from_csv_to_answers(csv: Path) -> None:
    version: str = trax_triplet.__version__
    written: int = sample.write_csv(csv, 400, seed=0)
    pairs: Pairs = read_pairs(csv, question1="q1", max_skipped=0.1)
    (training, validation), left_out = split_pairs(pairs, (0.9, 0.1), seed=written)
    rows: np.ndarray = left_out
    trained: TrainedModel = train(
        training, Path("run"), validation=validation, steps=100, margin=0.4, hard_from=None
    )
    save_model("model", trained)
    trained.save("model")
    trained = load_model(Path("model"))
    questions = [version, *pairs.question1]
    vectors: np.ndarray = trained.embed(questions)
    similarities: np.ndarray = trained.similarity(questions, questions)
    answers: np.ndarray = trained.predict(questions, questions, threshold=0.5)
    threshold: float | None = trained.threshold
    numbers = evaluate(trained, pairs.select(rows), mistakes=3)
    print(numbers, vectors.shape, similarities[answers], threshold)


def loss_and_layers(v1: np.ndarray, v2: np.ndarray, ids: np.ndarray) -> None:
    loss = triplet_loss(v1, v2, margin=0.25, groups=(ids, ids), reduction="none")
    layers: list[Any] = [TripletLoss(margin=0.25, closest="hardest"), Siamese(100, 16)]
    layers.append(load_trax_model("model.pkl.gz", vocab_size=41699))
    print(float(loss.sum()), layers)


def text(questions: list[str]) -> list[int]:
    vocabulary = Vocabulary.build(questions, min_count=2, buckets=16)
    ids: list[np.ndarray] = vocabulary.encode_all(questions)
    words: list[str] = trax_triplet.tokenize(questions[0])
    return [vocabulary[word] for word in words] + ids[0].tolist()


def metrics(scores: np.ndarray, labels: np.ndarray, history: list[dict[str, float]]) -> None:
    threshold: Threshold = best_threshold(scores, labels, metric="f1")
    counts: Confusion = confusion(scores, labels, threshold.threshold)
    area: float = roc_auc(scores, labels)
    figure = score_histogram(scores, labels, threshold=threshold.threshold).figure
    learning_curve(history, margin=0.25, ax=similarity_heatmap(np.eye(3)))
    print(counts, area, figure)


def course(Q1: list[list[int]], labels: list[int], vocab: dict[str, int]) -> None:
    batches = data_generator(Q1, Q1, batch_size=2, shuffle=False)
    b1, b2 = next(batches)
    shape: tuple[int, ...] = b1.shape + b2.shape
    model = assignment.Siamese(vocab_size=100, d_model=8)
    loss = assignment.TripletLoss
    train_model(assignment.Siamese, loss, batches, batches, output_dir="model/").run(1)
    accuracy = classify(Q1, Q1, np.array(labels), 0.7, model, vocab)
    answer = predict("How?", "Why?", 0.7, model, vocab, verbose=True)
    result: CheckResult = check("TripletLoss", loss)
    print(shape, accuracy, answer, bool(result))


def keras_edition(trained: TrainedModel, pairs: Pairs) -> None:
    model = to_keras(trained)
    model.compile(optimizer="adam", loss=ModifiedTripletLoss(margin=0.4, with_groups=True))
    model.fit(pairs_dataset(pairs, 64, seed=1), epochs=2, shuffle=False)
    losses = [ModifiedTripletLoss(with_groups=True), RankingLoss(margin=0.4, normalize=False)]
    model.compile(optimizer="adam", loss=losses, loss_weights=[1.0, 2.0])
    back = from_keras(model)
    export(model, Path("served"), format="savedmodel")
    export(trained, "model.keras")
    print(back)
