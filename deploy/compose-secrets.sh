#!/bin/sh
# Writes the secrets of compose.yaml, those that are missing, and names their directory in .env. Doing it again changes
# nothing. Run it in the checkout; the image is built, since it hashes the password of the console's first user.
#
#   deploy/compose-secrets.sh [DIRECTORY]      default: secrets; $WAYBILL_SECRETS_DIR, if it is set, instead of .env
#
# It shows what it makes up once. Couriers' secrets (dash_secrets, kiriminaja_tokens): a line for each that is taken; an
# empty file keeps the courier off. APIs' secrets, for `--profile reconcile`, are empty until you write them.
# Where your docker is called otherwise: DOCKER=podman deploy/compose-secrets.sh
set -eu

directory=${1:-${WAYBILL_SECRETS_DIR:-secrets}}
docker=${DOCKER:-docker}
umask 077
mkdir -p "$directory"

random() {
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

# A directory that is yours alone holds files that everybody may read: containers run as users of their own.
write() {
    cat > "$directory/.new"
    chmod 0644 "$directory/.new"
    mv "$directory/.new" "$directory/$1"
}

[ -e "$directory/postgres_password" ] || random | write postgres_password
[ -e "$directory/database_url" ] ||
    printf 'postgresql://waybill:%s@postgres:5432/waybill' "$(cat "$directory/postgres_password")" | write database_url
[ -e "$directory/console_session_key" ] || random | write console_session_key
for name in kiriminaja_api_key dash_client_key dash_client_secret; do
    [ -e "$directory/$name" ] || : | write $name
done
for name in dash_secrets kiriminaja_tokens; do
    [ -e "$directory/$name" ] || { random | write $name; echo "$name: $(cat "$directory/$name")"; }
done
if [ ! -s "$directory/console_users" ]; then
    "$docker" image inspect waybill:local > /dev/null 2>&1 ||
        "$docker" build --tag waybill:local --build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL .
    password=$(random)
    printf '%s\n' "$password" |
        "$docker" run --rm --interactive --network none waybill:local console user admin --role operator |
        write console_users
    echo "console: admin, password $password"
fi
[ -n "${WAYBILL_SECRETS_DIR:-}" ] || grep -qs '^WAYBILL_SECRETS_DIR=' .env || echo "WAYBILL_SECRETS_DIR=$directory" >> .env
