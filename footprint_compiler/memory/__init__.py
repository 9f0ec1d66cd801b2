"""Memory planning: pure Python over integers, never imports TVM."""
