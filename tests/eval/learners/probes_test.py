"""The probes against scikit-learn and numpy, on correlated data with planted directions.

Tolerances stand at each test."""

import json
import os
import subprocess
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # small problems: scikit-learn's threads cost more than they bring

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

DRIVER = Path(os.environ["ASSAY"]).parent / "probe_driver"
GRID = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


def planted(n, f, seed, rank=20, strength=1.0, noise=0.3):
    """Low-rank correlated rows with scales over three decades, a large mean and a class direction."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(rank, f)) / np.sqrt(np.arange(1, rank + 1))[:, None]
    y = (np.arange(n) % 3 == 0).astype(np.uint8)
    direction = rng.normal(size=f) / np.sqrt(f)
    x = rng.normal(size=(n, rank)) @ mixing + noise * rng.normal(size=(n, f))
    x += strength * np.outer(y, direction) * np.sqrt(f) / 4 + rng.normal(size=f)
    return (x * 10 ** rng.uniform(-1, 2, size=f)).astype(np.float32), y


def sparse(n, f, seed):
    """Like pooled codes: mostly zeros, many columns that never fire, a few that follow the class."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 2).astype(np.uint8)
    rate = np.clip(rng.lognormal(-4, 2, size=f), 0, 0.5)
    rate[f // 2 :] = 0
    fires = rng.random((n, f)) < rate
    fires[:, :8] |= (rng.random((n, 8)) < 0.25) & (y[:, None] == 1)
    return (fires * rng.gamma(2, 1, size=(n, f))).astype(np.float32), y


def drive(folder, op, x=None, y=None, t=None, **job):
    folder.mkdir(parents=True, exist_ok=True)
    if x is not None:
        x.astype(np.float32).tofile(folder / "x.f32")
        (x if t is None else t).astype(np.float32).tofile(folder / "t.f32")
        if x.ndim == 2:
            job["features"] = x.shape[1]
    if y is not None:
        y.astype(np.uint8).tofile(folder / "y.u8")
        job["rows"] = len(y)
    (folder / "job.json").write_text(json.dumps({"op": op, "seed": 7, **job}))
    done = subprocess.run([DRIVER, folder], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads((folder / "out.json").read_text())


def split(data, n):
    x, y = data
    return x[:n], y[:n], x[n:], y[n:]


def reference(x, c, y, penalty="l2", balanced=False):
    """scikit-learn on standardised doubles, solved far beyond its default tolerance."""
    scaler = StandardScaler().fit(x.astype(np.float64))
    if penalty == "l2":
        kind = {"solver": "newton-cg", "tol": 1e-9}
    else:
        kind = {"l1_ratio": 1.0, "solver": "saga", "tol": 1e-9, "random_state": 0}
    weight = "balanced" if balanced else None
    model = LogisticRegression(C=c, max_iter=200000, class_weight=weight, **kind)
    return scaler, model.fit(scaler.transform(x.astype(np.float64)), y)


def objective(z, y, w, b, c, penalty):
    margins = z @ w + b
    loss = np.logaddexp(0, margins) - y * margins
    return (0.5 * w @ w if penalty == "l2" else np.abs(w).sum()) + c * loss.sum()


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_exact(tmp_path, ties):
    rng = np.random.default_rng(1)
    y = (rng.random(5000) < 0.1).astype(np.uint8)
    scores = (rng.normal(size=5000) + y).astype(np.float32)
    if ties:
        scores = np.round(scores * 2) / 2
    assert abs(drive(tmp_path, "auroc", scores, y)["auroc"] - roc_auc_score(y, scores)) < 1e-12


@pytest.mark.parametrize("n,f", [(600, 40), (600, 384), (200, 1500)])
@pytest.mark.parametrize("c", [1e-3, 1.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_logistic_l2(tmp_path, n, f, c, balanced):
    x, y, t, _ = split(planted(n + 100, f, seed=f), n)
    out = drive(tmp_path, "logistic", x, y, t, c_grid=[c], balanced=balanced)
    scaler, model = reference(x, c, y, balanced=balanced)
    theirs = model.decision_function(scaler.transform(t.astype(np.float64)))
    # Relative to the largest weight; newton-cg itself is about this exact.
    weights = np.array(out["weights"]) * scaler.scale_
    assert np.abs(weights - model.coef_[0]).max() < 1e-5 * np.abs(model.coef_).max()
    assert np.abs(np.array(out["scores"]) - theirs).max() < 1e-5 * np.abs(theirs).max()
    assert (
        np.abs(1 / (1 + np.exp(-np.array(out["scores"]))) - 1 / (1 + np.exp(-theirs))).max() < 1e-5
    )


def test_logistic_on_sparse_and_constant_features(tmp_path):
    x, y, t, _ = split(sparse(700, 2000, seed=3), 600)
    x[:, 5] = 4.5  # constant but not zero
    out = drive(tmp_path, "logistic", x, y, t, c_grid=[0.01])
    scaler, model = reference(x, 0.01, y)
    constant = x.min(axis=0) == x.max(axis=0)
    assert constant.sum() > 900
    weights = np.array(out["weights"])
    assert (weights[constant] == 0).all()
    assert np.abs(weights * scaler.scale_ - model.coef_[0]).max() < 1e-5 * np.abs(model.coef_).max()


@pytest.mark.parametrize("make,f", [(planted, 60), (planted, 700), (sparse, 900)])
def test_cross_validation_takes_the_same_c(tmp_path, make, f):
    x, y = make(300, f, seed=f)
    out = drive(tmp_path, "logistic", x, y, c_grid=GRID)
    folds = np.array(out["folds"])
    assert {(folds == k).sum() for k in range(5)} <= {59, 60, 61} and np.ptp(
        np.bincount(folds[y == 1])
    ) <= 1
    z = StandardScaler().fit_transform(x.astype(np.float64))
    curve = []
    for c in GRID:
        model = LogisticRegression(C=c, tol=1e-8, max_iter=100000)
        fits = [
            model.fit(z[folds != k], y[folds != k]).decision_function(z[folds == k])
            for k in range(5)
        ]
        curve.append(np.mean([roc_auc_score(y[folds == k], fits[k]) for k in range(5)]))
    best = max(curve)
    # A fold's solution to 1e-4 may swap a pair of near-tied rows: 5e-4 in AUROC here.
    assert abs(out["cv_auroc"] - best) < 5e-4
    assert curve[GRID.index(out["c"])] > best - 5e-4


def test_ties_go_to_the_smaller_c(tmp_path):
    y = (np.arange(100) % 2).astype(np.uint8)
    x = np.stack([y * 2.0 - 1, np.zeros(100)], axis=1)
    out = drive(tmp_path, "logistic", x, y, c_grid=GRID)
    assert out["c"] == GRID[0] and out["cv_auroc"] == 1


@pytest.mark.parametrize(
    "make,f,c", [(planted, 50, 0.1), (planted, 500, 0.1), (sparse, 800, 0.3), (sparse, 800, 0.03)]
)
def test_logistic_l1(tmp_path, make, f, c):
    x, y = make(300, f, seed=f)
    out = drive(tmp_path, "logistic", x, y, c_grid=[c], penalty="l1")
    scaler, model = reference(x, c, y, "l1")
    z = scaler.transform(x.astype(np.float64))
    w = np.array(out["weights"]) * scaler.scale_
    b = out["bias"] + np.array(out["weights"]) @ scaler.mean_
    ours, theirs = (
        objective(z, y, w, b, c, "l1"),
        objective(z, y, model.coef_[0], model.intercept_[0], c, "l1"),
    )
    assert ours < theirs * (1 + 1e-6)
    # The optimality conditions themselves: no other implementation's tolerance stands between.
    gradient = c * z.T @ (1 / (1 + np.exp(-(z @ w + b))) - y)
    slack = 1e-5 * c * len(y)
    assert (
        np.abs(gradient).max() < 1 + slack
        and np.abs(gradient[w != 0] + np.sign(w[w != 0])).max() < slack
    )
    assert (
        np.abs(w - model.coef_[0]).max() < 2e-3 * max(1, np.abs(w).max()) and (w != 0).sum() < f / 2
    )


def test_difference_of_means(tmp_path):
    x, y, t, _ = split(planted(500, 64, seed=4), 400)
    out = drive(tmp_path, "diff_means", x, y, t)
    x, t = x.astype(np.float64), t.astype(np.float64)
    direction = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    direction /= np.linalg.norm(direction)
    middle = (x[y == 1].mean(axis=0) + x[y == 0].mean(axis=0)) / 2
    np.testing.assert_allclose(out["scores"], (t - middle) @ direction, rtol=1e-9, atol=1e-9)
    assert abs(np.linalg.norm(out["weights"]) - 1) < 1e-12


@pytest.mark.parametrize("n,f", [(400, 30), (300, 384), (60, 200)])
def test_lda(tmp_path, n, f):
    x, y, t, _ = split(planted(n + 50, f, seed=n), n)
    out = drive(tmp_path, "lda", x, y, t)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x.astype(np.float64), y)
    theirs = model.decision_function(t.astype(np.float64))
    assert 0 < ledoit_wolf(x[y == 1].astype(np.float64))[1] < 1
    assert np.abs(np.array(out["scores"]) - theirs).max() < 1e-6 * np.abs(theirs).max()


@pytest.mark.parametrize("n,f", [(300, 80), (100, 400)])
def test_pca(tmp_path, n, f):
    x, y = planted(n, f, seed=5)
    out = drive(tmp_path, "pca", x, y, k=15)
    model = PCA(15, svd_solver="full").fit(x.astype(np.float64))
    ours = np.array(out["components"]).reshape(15, f)
    signs = np.sign((ours * model.components_).sum(axis=1))
    assert np.abs(ours - signs[:, None] * model.components_).max() < 1e-6
    np.testing.assert_allclose(out["variance"], model.explained_variance_, rtol=1e-8)
    np.testing.assert_allclose(out["mean"], model.mean_, rtol=1e-9, atol=1e-9)
    assert (np.take_along_axis(ours, np.abs(ours).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_pca_drops_axes_beyond_the_rank(tmp_path):
    rng = np.random.default_rng(6)
    x = np.round(rng.normal(size=(60, 3)) * 8) @ np.round(
        rng.normal(size=(3, 40)) * 8
    )  # exact in fp32
    assert (
        len(drive(tmp_path, "pca", x, (np.arange(60) % 2).astype(np.uint8), k=10)["variance"]) == 3
    )


@pytest.mark.parametrize("n,f", [(300, 80), (100, 400)])
def test_pca_then_logistic(tmp_path, n, f):
    x, y, t, _ = split(planted(n + 50, f, seed=8), n)
    out = drive(tmp_path, "pca_logistic", x, y, t, k=12, c_grid=[0.1])
    pca = PCA(12, svd_solver="full").fit(x.astype(np.float64))
    scaler, model = reference(pca.transform(x.astype(np.float64)), 0.1, y)
    theirs = model.decision_function(scaler.transform(pca.transform(t.astype(np.float64))))
    assert np.abs(np.array(out["scores"]) - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_knn_is_exact(tmp_path):
    x, y, t, _ = split(planted(900, 48, seed=9), 600)
    out = drive(tmp_path, "knn", x, y, t, k=32)
    model = KNeighborsClassifier(32, metric="cosine", algorithm="brute").fit(
        x.astype(np.float64), y
    )
    np.testing.assert_array_equal(out["scores"], model.predict_proba(t.astype(np.float64))[:, 1])


def test_feature_selection(tmp_path):
    x, y, t, _ = split(sparse(700, 600, seed=10), 600)
    out = drive(tmp_path, "select", x, y, t, k=16, c_grid=[0.1])
    wide = x.astype(np.float64)
    sd = wide.std(axis=0)
    contrast = np.abs(wide[y == 1].mean(axis=0) - wide[y == 0].mean(axis=0)) / (
        sd + 0.5 * np.median(sd) + (sd == 0)
    )
    np.testing.assert_allclose(out["contrast"], contrast, rtol=1e-9, atol=1e-12)
    order = np.array(out["ranked"])
    assert (
        sorted(order) == list(range(600)) and (np.diff(np.array(out["contrast"])[order]) <= 0).all()
    )
    assert len(set(order[:16]) & set(range(8))) >= 6
    scaler, model = reference(x[:, order[:16]], 0.1, y)
    theirs = model.decision_function(scaler.transform(t[:, order[:16]].astype(np.float64)))
    np.testing.assert_allclose(out["scores"], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha,rank", [(0.0, 3), (1.0, 4), (4.0, 2)])
def test_contrastive_pca_is_numpys(tmp_path, alpha, rank):
    x, y = planted(400, 60, seed=15)
    out = np.array(
        drive(tmp_path, "erase", x, y, method="contrastive_pca", alpha=alpha, rank=rank)["out"]
    )
    wide = x.astype(np.float64) - x[y == 0].mean(axis=0, dtype=np.float64)
    moment = [wide[y == c].T @ wide[y == c] / (y == c).sum() for c in (0, 1)]
    values, vectors = np.linalg.eigh(moment[1] - alpha * moment[0])
    axes = vectors[:, ::-1][:, :rank] * (values[::-1][:rank] > 0)
    expected = x - wide @ axes @ axes.T
    assert np.abs(out.reshape(x.shape) - expected).max() < 1e-5 * np.abs(wide).max()


def test_the_gate_is_ldas_scores_cut_at_the_negatives_quantile(tmp_path):
    x, y, t, _ = split(planted(500, 30, seed=16), 400)
    out = drive(tmp_path / "gate", "gate", x, y, t, false_positives=0.05)
    train = np.array(drive(tmp_path / "train", "lda", x, y, x)["scores"])
    test = np.array(drive(tmp_path / "test", "lda", x, y, t)["scores"])
    np.testing.assert_allclose(out["threshold"], np.quantile(train[y == 0], 0.95), rtol=1e-9)
    np.testing.assert_array_equal(out["open"], test > out["threshold"])
    shift = x[y == 0].mean(axis=0, dtype=np.float64) - x[y == 1].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(out["shift"], shift, rtol=1e-9, atol=1e-9)


def test_tfidf(tmp_path):
    rng = np.random.default_rng(11)
    vocabulary = [f"word{i}" for i in range(200)] + ["A", "It's", "co-operate", "x_1", "UPPER"]

    def draw(lean):
        return " ".join(
            rng.choice(vocabulary[lean : lean + 150] + vocabulary[-5:], size=rng.integers(3, 15))
        )

    y = (np.arange(240) % 2).astype(np.uint8)
    texts = [draw(20 * int(label)) for label in y]
    test = [draw(20 * (i % 2)) for i in range(50)] + ["", "unseen entirely"]
    tmp_path.joinpath("texts.json").write_text(json.dumps({"train": texts, "test": test}))
    out = drive(tmp_path, "tfidf", y=y, c_grid=[10.0])
    vectorizer = TfidfVectorizer()
    rows = vectorizer.fit_transform(texts)
    theirs = vectorizer.transform(test).toarray()
    ours = np.zeros_like(theirs)
    for i, row in enumerate(out["rows"]):
        for column, value in row:
            ours[i, column] = value
    assert np.abs(ours - theirs).max() < 1e-12
    model = LogisticRegression(C=10.0, solver="newton-cg", tol=1e-10, max_iter=10000).fit(rows, y)
    assert (
        np.abs(np.array(out["weights"]) - model.coef_[0]).max() < 1e-5 * np.abs(model.coef_).max()
    )
    assert np.abs(np.array(out["scores"]) - model.decision_function(theirs)).max() < 1e-5


@pytest.mark.parametrize("c", [0.1, 1000.0])
def test_tfidf_solves_the_optimality_conditions(tmp_path, c):
    rng = np.random.default_rng(12)
    texts = [
        " ".join(f"w{int(w)}" for w in rng.zipf(1.4, size=8) % 400 + i % 2 * (rng.random() < 0.4))
        for i in range(200)
    ]
    y = (np.arange(200) % 2).astype(np.uint8)
    tmp_path.joinpath("texts.json").write_text(json.dumps({"train": texts, "test": texts}))
    out = drive(tmp_path, "tfidf", y=y, c_grid=[c])
    rows = TfidfVectorizer().fit_transform(texts).toarray()
    residual = y - 1 / (1 + np.exp(-np.array(out["scores"])))
    np.testing.assert_allclose(
        out["weights"], c * rows.T @ residual, atol=1e-6 * max(1, np.abs(out["weights"]).max())
    )
    assert abs(c * residual.sum()) < 1e-6


def test_permuted_labels_give_chance_and_planted_ones_do_not(tmp_path):
    x, y, t, truth = split(planted(1600, 100, seed=12, strength=3), 600)
    assert roc_auc_score(truth, drive(tmp_path / "true", "logistic", x, y, t)["scores"]) > 0.9
    values = []
    for seed in range(8):
        shuffled = np.random.default_rng(seed).permutation(y)
        values.append(
            roc_auc_score(truth, drive(tmp_path / str(seed), "logistic", x, shuffled, t)["scores"])
        )
    assert abs(np.mean(values) - 0.5) < 0.12


def test_inlp(tmp_path):
    x, y = planted(500, 30, seed=13, strength=3)
    wide = x.astype(np.float64)
    scaler, model = reference(x, 0.1, y)
    direction = model.coef_[0] / scaler.scale_
    direction /= np.linalg.norm(direction)
    once = np.array(
        drive(tmp_path / "1", "erase", x, y, method="inlp", rank=1, c_grid=[0.1])["out"]
    ).reshape(x.shape)
    expected = wide - np.outer((wide - wide.mean(axis=0)) @ direction, direction)
    assert np.abs(once - expected).max() < 1e-5 * np.abs(wide).max()
    out = drive(tmp_path / "16", "erase", x, y, method="inlp", rank=16, c_grid=[0.1])
    erased = np.array(out["out"]).reshape(x.shape)
    _, sizes, axes = np.linalg.svd(wide - erased, full_matrices=False)
    assert out["rank"] == 16 and (sizes > 1e-5 * sizes[0]).sum() == 16
    assert np.abs((erased - wide.mean(axis=0)) @ axes[:16].T).max() < 1e-4 * np.abs(wide).max()
    standardised = map(StandardScaler().fit_transform, (wide, erased))
    before, after = (LogisticRegression(C=0.1).fit(z, y).score(z, y) for z in standardised)
    assert before > 0.95 and after < before - 0.1


def test_paired_projection_takes_the_leading_right_singular_vectors_out(tmp_path):
    x, y = planted(60, 20, seed=14, strength=3)
    x = x + np.float32(0.5)  # uncentred: the mean difference counts
    axes = np.linalg.svd(x.astype(np.float64), full_matrices=False)[2]
    for rank in (1, 5, 20, 90):
        out = drive(tmp_path / str(rank), "erase", x, y, method="paired", rank=rank)
        kept = x - x.astype(np.float64) @ axes[:rank].T @ axes[:rank]
        assert out["rank"] == min(rank, 20)
        assert np.abs(np.array(out["out"]).reshape(x.shape) - kept).max() < 1e-5 * np.abs(x).max()


@pytest.mark.parametrize("method", ["leace", "mean"])
def test_erasure(tmp_path, method):
    x, y = planted(500, 30, seed=13, strength=3)
    out = drive(tmp_path, "erase", x, y, method=method)
    erased, wide = np.array(out["out"]).reshape(x.shape), x.astype(np.float64)
    mean = wide.mean(axis=0)
    assert out["rank"] == 1
    gap = erased[y == 1].mean(axis=0) - erased[y == 0].mean(axis=0)
    assert np.abs(gap).max() < 1e-5 * np.abs(wide).max()
    if method == "mean":
        direction = wide[y == 1].mean(axis=0) - wide[y == 0].mean(axis=0)
        direction /= np.linalg.norm(direction)
        expected = wide - np.outer((wide - mean) @ direction, direction)
    else:
        values, axes = np.linalg.eigh(np.cov(wide.T, bias=True))
        whiten, colour = axes / np.sqrt(values) @ axes.T, axes * np.sqrt(values) @ axes.T
        v = whiten @ ((wide - mean).T @ (y - y.mean()))
        projection = colour @ np.outer(v, v) / (v @ v) @ whiten
        expected = wide - (wide - mean) @ projection.T
    assert np.abs(erased - expected).max() < 1e-5 * np.abs(wide).max()


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda x, y: (x, y * 0), "0 positives"),
        (lambda x, y: (x, y * 2), "expected 0 or 1"),
        (lambda x, y: (x, y[:-1]), "labels"),
        (
            lambda x, y: (np.where(np.arange(x.size).reshape(x.shape) == 25, np.nan, x), y),
            "row 2, feature 5 is nan",
        ),
    ],
)
@pytest.mark.parametrize("op", ["logistic", "diff_means", "lda", "knn", "pca_logistic", "select"])
def test_bad_input_is_named(tmp_path, op, change, message):
    x, y = change(*planted(40, 10, seed=14))
    with pytest.raises(RuntimeError, match=message):
        drive(tmp_path, op, x, y, k=3)


def test_too_few_rows_for_folds(tmp_path):
    x, y = planted(12, 5, seed=15)
    y[:] = [1] + [0] * 11
    assert drive(tmp_path, "logistic", x, y)["c"] == 1e-4, "the smallest"
    assert drive(tmp_path, "logistic", x, y, c_grid=[0.1])["c"] == 0.1
