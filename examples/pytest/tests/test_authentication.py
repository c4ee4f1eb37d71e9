"""Tests of who gets in."""

import pytest
from aiohttp import WSServerHandshakeError


@pytest.mark.fc(triggerConfig={"authType": "jwt", "authConfig": {"claimPassBy": "header:sub:x-user"}})
class TestJwt:
    """With a trigger that wants a JWT; the kit's own key is added to its `jwks`."""

    def test_no_token(self, fc):
        """Who has no token stays out."""
        assert fc.request("GET", "/rooms").code == "JWTTokenIsMissing"

    def test_token(self, fc):
        """Who has one gets in, until it has expired."""
        bearer = {"Authorization": f"Bearer {fc.token(sub='alice', expires=600)}"}
        assert fc.request("GET", "/rooms", headers=bearer).status == 200
        fc.clock.advance(minutes=11)
        assert fc.request("GET", "/rooms", headers=bearer).code == "JWTTokenInvalid"


@pytest.mark.fc(triggerConfig={"authType": "function"})
@pytest.mark.asyncio
class TestSignature:
    """With a trigger that wants a signature."""

    async def test_unsigned(self, fc):
        """A handshake without a signature is refused."""
        with pytest.raises(WSServerHandshakeError) as refused:
            await fc.connect("/rooms/lobby")
        assert refused.value.status == 400
        assert fc.invocations[0].error_code == "MissingRequiredHeader"

    async def test_signed(self, fc):
        """One with a signature is not."""
        async with fc.connect("/rooms/lobby", headers=fc.sign("GET", "/rooms/lobby")) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"

    async def test_signed_url(self, fc):
        """A browser cannot send headers; a signature in the query is for it."""
        async with fc.connect(fc.presign("GET", "/rooms/lobby")) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
