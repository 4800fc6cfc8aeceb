-- Which attempt a command is: one more than the failures in a row that it was issued after. Commands that were out together
-- when the first of them failed are one attempt, however many results say so. Those that are out now count as first ones.
alter table public.deposit_commands add column if not exists attempt integer not null default 1;

alter table public.deposit_commands drop constraint if exists deposit_commands_attempt_check;
alter table public.deposit_commands add constraint deposit_commands_attempt_check check (attempt >= 1);

comment on column public.deposit_commands.attempt is 'One more than the failures in a row that it was issued after.';
