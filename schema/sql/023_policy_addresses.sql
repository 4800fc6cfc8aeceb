-- A mistyped address excludes nobody, and what comes back from the vault would be deposited again without a word; one
-- for a vault gives commands that no executor can read. So its checksum (SEP-23: CRC-16/XMODEM, low byte first) must hold.
create or replace function public.auto_deposit_policies_check_addresses()
returns trigger
language plpgsql
set search_path = ''
as $body$
declare
  alphabet constant text := 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  polynomial constant integer := 4129;
  place text;
  address text;
  bits text;
  payload_bits integer;
  crc integer;
begin
  for place, address in
    select 'vault_address', new.vault_address where new.vault_address is not null
    union all
    select 'excluded_sources', source from unnest(new.excluded_sources) as source where source is not null
  loop
    crc := -1;
    if address ~ '^([GCL][A-Z2-7]{55}|B[A-Z2-7]{57})$' then
      select string_agg((strpos(alphabet, substr(address, i, 1)) - 1)::bit(5)::text, '' order by i) into bits
      from generate_series(1, length(address)) as i;
      payload_bits := 8 * (length(bits) / 8) - 16;
      crc := 0;
      for i in 1..payload_bits loop
        crc := ((crc << 1) & 65535)
          # case when (crc >> 15)::text = substr(bits, i, 1) then 0 else polynomial end;
      end loop;
      if rtrim(substr(bits, payload_bits + 17), '0') <> '' then
        crc := -1;  -- a second spelling of one address
      end if;
    end if;
    if crc < 0 or substr(bits, payload_bits + 9, 8) || substr(bits, payload_bits + 1, 8) <> crc::bit(16)::text then
      raise exception 'auto_deposit_policies.% of wallet % has %, which is no Stellar address', place, new.wallet_id,
        quote_literal(left(address, 80))
        using errcode = 'check_violation',
          hint = 'It must be a G..., C..., L... or B... address with a valid checksum (for M... its G...): copy it again.';
    end if;
  end loop;
  return new;
end
$body$;

drop trigger if exists auto_deposit_policies_addresses on public.auto_deposit_policies;
create trigger auto_deposit_policies_addresses
  before insert or update of excluded_sources, vault_address on public.auto_deposit_policies
  for each row execute function public.auto_deposit_policies_check_addresses();

-- What is there already is looked at once: a policy that does not do what it says is for a person to set right.
update public.auto_deposit_policies set vault_address = vault_address
where vault_address is not null or excluded_sources is not null;
