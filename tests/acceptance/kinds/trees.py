"""scikit-learn, XGBoost and LightGBM: classifiers of the digits, in the formats that are data and no code."""

from __future__ import annotations

import lightgbm
import numpy as np
import skops.io
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.acceptance.kinds import asked


def main() -> None:
    folder = asked.folder()
    images, labels = asked.digits()
    rows = images[:40].astype(np.float64)

    net = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(images.astype(np.float64), labels)
    skops.io.dump(net, asked.version(folder, "sklearn") / "model.skops")
    outputs = {"label": net.predict(rows), "probabilities": net.predict_proba(rows)}
    asked.write(folder, "sklearn", serving_default=({"x": rows}, outputs))

    booster = xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1).fit(images, labels)
    booster.save_model(asked.version(folder, "xgboost") / "model.json")
    booster.save_model(asked.version(folder, "xgboost-binary") / "model.ubj")
    outputs = {"label": booster.predict(images[:40]), "probabilities": booster.predict_proba(images[:40])}
    for stream in ("xgboost", "xgboost-binary"):
        asked.write(folder, stream, serving_default=({"x": images[:40]}, outputs))

    forest = lightgbm.LGBMClassifier(n_estimators=5, num_leaves=7, n_jobs=1, verbose=-1)
    forest.fit(images.astype(np.float64), labels)
    forest.booster_.save_model(asked.version(folder, "lightgbm") / "model.txt")
    probabilities = forest.booster_.predict(rows)
    outputs = {"label": probabilities.argmax(axis=1), "probabilities": probabilities}
    asked.write(folder, "lightgbm", serving_default=({"x": rows}, outputs))


if __name__ == "__main__":
    main()
