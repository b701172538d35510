-- Dead letters are found by their reason, their courier and their root: these stood in the packed headers alone, so a
-- list of a few read all.

alter table outputs
    add column reason text not null default '',
    add column courier text not null default '',
    add column replay_of_partition integer,
    add column replay_of_offset bigint;

comment on column outputs.reason is 'Of a dead letter: why it is one. Empty where a version without this column stored it: then the headers tell.';
comment on column outputs.courier is 'Of a dead letter: its courier. Empty where the record named none, or what can be no courier''s name.';
comment on column outputs.replay_of_partition is 'Of a dead letter that was read again: the root record''s partition.';
comment on column outputs.replay_of_offset is 'Of a dead letter that was read again: the root record''s offset.';

-- For the next step alone: a header's value, from headers as MessagePack has them, an array of pairs of a text and of
-- bytes or null. Of several of the name the last with a value counts. Null: there is none, or they cannot be read.
create function dead_letter_header(headers bytea, wanted text) returns text language plpgsql immutable as $$
declare
    packed bytea := headers || ''::bytea;  -- once out of the table, however often a byte is asked for
    at integer := 0;
    pairs integer;
    kind integer;
    digits integer;
    size integer;
    name bytea;
    found bytea;
begin
    kind := get_byte(packed, 0);
    if kind between 144 and 159 then
        pairs := kind - 144;
        at := 1;
    elsif kind = 220 then
        pairs := get_byte(packed, 1) * 256 + get_byte(packed, 2);
        at := 3;
    else
        return null;
    end if;
    for pair in 1 .. pairs loop
        at := at + 1;
        for place in 1 .. 2 loop
            kind := get_byte(packed, at);
            at := at + 1;
            digits := case when kind in (196, 217) then 1 when kind in (197, 218) then 2 when kind in (198, 219) then 4 else 0 end;
            size := case when kind between 160 and 191 then kind - 160 else 0 end;
            for digit in 1 .. digits loop
                size := size * 256 + get_byte(packed, at);
                at := at + 1;
            end loop;
            if place = 1 then
                name := substring(packed from at + 1 for size);
            elsif kind <> 192 and name = convert_to(wanted, 'UTF8') then
                found := substring(packed from at + 1 for size);
            end if;
            at := at + size;
        end loop;
    end loop;
    return encode(found, 'escape');
exception when array_subscript_error then
    return null;
end
$$;
