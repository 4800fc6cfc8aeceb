-- What a read request was answered with: the fact that was told for it, or why nothing could be told. Null where it is
-- open, and where a producer of the version before marked it done.
alter table public.read_requests
  add column if not exists event_id uuid,
  add column if not exists ledger bigint,
  add column if not exists observed_ledger bigint,
  add column if not exists balance numeric(20,7),
  add column if not exists refused text;

comment on column public.read_requests.ledger is 'The version that was told: whoever waits for it compares stellar_wallets.balance_ledger.';
comment on column public.read_requests.refused is 'Why nothing could be told of the wallet.';

alter table public.read_requests
  drop constraint if exists read_requests_answer_check,
  add constraint read_requests_answer_check check (
    num_nonnulls(event_id, ledger, observed_ledger, balance) in (0, 4)
    and (event_id is null or refused is null)
    and (done_at is not null or event_id is null and refused is null)
    and ledger between 1 and observed_ledger and observed_ledger <= 4294967295
    and balance between 0 and 922337203685.4775807
  );

-- A wallet's own requests by time: how many there were lately; and for the cascade, as the index before it was.
create index if not exists read_requests_wallet_time on public.read_requests (wallet_id, requested_at);
drop index if exists public.read_requests_wallet;

-- Who asked waits for this instead of looking again and again.
create or replace function public.read_requests_notify_done()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  perform pg_notify('read_requests_done', new.id::text);
  return null;
end
$body$;

drop trigger if exists read_requests_notify_update on public.read_requests;
create trigger read_requests_notify_update
  after update of done_at on public.read_requests
  for each row when (old.done_at is null and new.done_at is not null)
  execute function public.read_requests_notify_done();
