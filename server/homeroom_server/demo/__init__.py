"""`homeroom demo`: the main job, shown on a generated province or on an Ed-Fi district."""
