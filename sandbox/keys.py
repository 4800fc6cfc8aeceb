"""Every key and address of the simulated world, derived from one seed: the same seed names the same people."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from stellar_sdk import Asset as SdkAsset
from stellar_sdk import Keypair, LiquidityPoolAsset, StrKey

from schema.stellar import AccountId, Address, Asset


@dataclass(frozen=True, slots=True)
class Key:
    """An account and the secret seed (`S...`) that signs for it."""

    account_id: AccountId
    secret: str = field(repr=False)


def derive(seed: int, role: str, number: int = 0) -> Key:
    """The key of one part in the world: `derive(7, "wallet", 3)`."""
    pair = Keypair.from_raw_ed25519_seed(_digest(seed, role, number))
    return Key(AccountId(pair.public_key), pair.secret)


def contract(seed: int, name: str) -> Address:
    """The address (`C...`) of a contract."""
    return Address(StrKey.encode_contract(_digest(seed, f"contract {name}", 0)))


def claimable_balance(balance_id: str) -> Address:
    """The address (`B...`) of a claimable balance whose id is 72 hexadecimal digits, its type first."""
    return Address(StrKey.encode_claimable_balance(bytes.fromhex(balance_id[6:])))


@lru_cache(maxsize=1024)
def pool_id(asset_a: Asset | None, asset_b: Asset | None) -> str:
    """The id (64 hexadecimal digits) of the pool of these two; ValueError unless they are in Stellar's order."""
    return LiquidityPoolAsset(_sdk_asset(asset_a), _sdk_asset(asset_b)).liquidity_pool_id


@lru_cache(maxsize=1024)
def liquidity_pool(pool_id: str) -> Address:
    """The address (`L...`) of a liquidity pool."""
    return Address(StrKey.encode_liquidity_pool(bytes.fromhex(pool_id)))


def _sdk_asset(asset: Asset | None) -> SdkAsset:
    return SdkAsset.native() if asset is None else SdkAsset(asset.code, asset.issuer)


def _digest(seed: int, role: str, number: int) -> bytes:
    return hashlib.sha256(f"sandbox|{seed}|{role}|{number}".encode()).digest()
