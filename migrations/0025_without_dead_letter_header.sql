drop function dead_letter_header(bytea, text);
