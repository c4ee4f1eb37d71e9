"""Tests of authentication."""

import pytest
from aiohttp import WSServerHandshakeError


@pytest.mark.fc(triggerConfig={"authType": "jwt", "authConfig": {"claimPassBy": "header:sub:x-user"}})
class TestJwt:
    """With a trigger that requires a JWT; the kit adds its own key to `jwks`."""

    def test_no_token(self, fc):
        """A request without a token is refused."""
        assert fc.request("GET", "/rooms").code == "JWTTokenIsMissing"

    def test_token(self, fc):
        """A token is accepted until it expires."""
        bearer = {"Authorization": f"Bearer {fc.token(sub='alice', expires=600)}"}
        assert fc.request("GET", "/rooms", headers=bearer).status == 200
        fc.clock.advance(minutes=11)
        assert fc.request("GET", "/rooms", headers=bearer).code == "JWTTokenInvalid"


@pytest.mark.fc(triggerConfig={"authType": "function"})
@pytest.mark.asyncio
class TestSignature:
    """With a trigger that requires a signature."""

    async def test_unsigned(self, fc):
        """A handshake without a signature is refused."""
        with pytest.raises(WSServerHandshakeError) as refused:
            await fc.connect("/rooms/lobby")
        assert refused.value.status == 400
        assert fc.invocations[0].error_code == "MissingRequiredHeader"

    async def test_signed(self, fc):
        """A handshake with a signature is accepted."""
        async with fc.connect("/rooms/lobby", headers=fc.sign("GET", "/rooms/lobby")) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"

    async def test_signed_url(self, fc):
        """A browser cannot send headers, so it sends the signature in the query."""
        async with fc.connect(fc.presign("GET", "/rooms/lobby")) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
