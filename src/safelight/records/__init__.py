"""The database of finished requests, assessments, ratings and samples."""
