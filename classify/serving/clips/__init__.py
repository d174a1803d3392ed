"""New clips as callers hand them in: files, bytes, waveforms, texts."""
