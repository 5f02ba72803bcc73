"""A cursor over tokens: look ahead, take, expect, and say what was not expected."""

from connector.sandbox.errors import ApiError
from connector.sandbox.tokens import Token, malformed
from connector.sandbox.tree import Path


class Reader:
    def __init__(self, query: str, tokens: list[Token]) -> None:
        self.query, self.tokens, self.position = query, tokens, 0

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.next
        self.position += token.kind != "end"
        return token

    def sees(self, *words: str) -> bool:
        ahead = self.tokens[self.position : self.position + len(words)]
        return [token.text.lower() for token in ahead if token.kind != "text"] == [word.lower() for word in words]

    def accept(self, *words: str) -> bool:
        if not self.sees(*words):
            return False
        self.position += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.accept(word):
            raise self.unexpected()

    def expect_end(self) -> None:
        if self.next.kind != "end":
            raise self.unexpected()

    def unexpected(self) -> ApiError:
        return malformed(self.query, self.next.at, f"unexpected token: '{self.next.text}'")

    def path(self) -> Path:
        if self.next.kind != "word":
            raise self.unexpected()
        token = self.take()
        return Path(tuple(token.text.split(".")), token.at)

    def whole_number(self) -> int:
        token = self.next
        if token.kind != "number" or not token.text.isdigit():
            raise self.unexpected()
        if len(token.text) > 9:
            raise malformed(self.query, token.at, f"numeric value out of range: {token.text}")  # [U]
        return int(self.take().text)
