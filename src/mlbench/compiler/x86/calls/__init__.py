"""What a call from Python passes on its way into machine code: the function, the checks of its arrays, its result, and the guard."""
