CONVERTERS: dict = {}
