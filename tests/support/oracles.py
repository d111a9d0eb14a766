"""What results must be: plain float64 loops that import nothing of the package."""

import math


def unit(vector):
    length = math.sqrt(sum(float(x) ** 2 for x in vector))
    return [float(x) / length if length else 0.0 for x in vector]


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b))


def scores_of(v1, v2, normalize=True):
    if normalize:
        v1, v2 = [unit(v) for v in v1], [unit(v) for v in v2]
    return [[dot(a, b) for b in v2] for a in v1]


def anchor_loss(scores, i, margin, closest, ids1=None, ids2=None):
    """Loss of anchor i: the two hinges, added."""
    if ids1 is not None and (ids1[i] < 0 or ids2[i] < 0):
        return 0.0
    positive, negatives = scores[i][i], []
    for j in range(len(scores)):
        if j == i or (ids1 is not None and (ids1[i] == ids2[j] or ids1[j] < 0 or ids2[j] < 0)):
            continue
        negatives.append(scores[i][j])
    if not negatives:
        return 0.0
    mean = sum(negatives) / len(negatives)
    if closest == "hardest":
        closest_negative = max(negatives)
    elif closest == "shifted":  # the Keras assignment's row still holds its own place, at -2
        closest_negative = max([-2.0] + [s - 2 if s > positive else s for s in negatives])
    else:
        closest_negative = max([s for s in negatives if s <= positive], default=-2.0)
    return max(mean - positive + margin, 0.0) + max(closest_negative - positive + margin, 0.0)


def triplet_loss(
    v1,
    v2,
    margin=0.25,
    closest="semi-hard",
    anchor="first",
    reduction="mean",
    normalize=True,
    groups=None,
):
    scores = scores_of(v1, v2, normalize)
    transposed = [list(column) for column in zip(*scores)]
    ids1, ids2 = groups if groups is not None else (None, None)
    n = len(scores)
    first = [anchor_loss(scores, i, margin, closest, ids1, ids2) for i in range(n)]
    second = [anchor_loss(transposed, i, margin, closest, ids2, ids1) for i in range(n)]
    losses = {
        "first": first,
        "second": second,
        "both": [(a + b) / 2 for a, b in zip(first, second)],
    }[anchor]
    if reduction == "none":
        return losses
    present = n if groups is None else sum(a >= 0 and b >= 0 for a, b in zip(ids1, ids2))
    return sum(losses) / (max(present, 1) if reduction == "mean" else 1)


def lstm_last_state(x, kernel, bias):
    """State after the last step of x (steps, d); gates input, new, forget, output; from zeros."""

    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    d = len(kernel[0]) // 4
    c, h = [0.0] * d, [0.0] * d
    for step in x:
        both = [*map(float, step), *h]
        y = [
            float(bias[k]) + sum(both[r] * float(kernel[r][k]) for r in range(len(both)))
            for k in range(4 * d)
        ]
        i, j, f, o = (y[g * d : (g + 1) * d] for g in range(4))
        c = [c[k] * sigmoid(f[k]) + sigmoid(i[k]) * math.tanh(j[k]) for k in range(d)]
        h = [math.tanh(c[k]) * sigmoid(o[k]) for k in range(d)]
    return h


def teacher_loss(v, teacher):
    v, teacher = [unit(row) for row in v], [unit(row) for row in teacher]
    rows = [i for i in range(len(v)) if any(teacher[i])]
    errors = [
        (dot(v[i], v[j]) - dot(teacher[i], teacher[j])) ** 2 for i in rows for j in rows if i != j
    ]
    return sum(errors) / len(errors) if errors else 0.0


def ranking_loss(v1, v2, labels, margin=0.4):
    s = [dot(unit(a), unit(b)) for a, b in zip(v1, v2)]
    hinges = [
        max(s[q] - s[p] + margin, 0.0) ** 2
        for p in range(len(s))
        for q in range(len(s))
        if labels[p] == 1 and labels[q] == 0
    ]
    return sum(hinges) / len(hinges) if hinges else 0.0
