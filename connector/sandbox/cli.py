"""`connector sandbox`: serve an org until Ctrl-C; change its rows from another terminal."""

import errno
import json
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from connector.sandbox import fixtures, furnished
from connector.sandbox.http import serve

PORT = 21600
_URL = click.option("--url", default=f"http://127.0.0.1:{PORT}", show_default=True, help="Where the org is.")


@click.group(invoke_without_command=True)
@click.option("--port", default=PORT, type=click.IntRange(0, 65535), show_default=True, help="0 takes a free one.")
@click.option("--file", "file", type=click.Path(dir_okay=False, path_type=Path), help="Keep the org in this file.")
@click.option("--load", "load", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML to load.")
@click.option("--shapes", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of shapes.")
@click.pass_context
def sandbox(context: click.Context, port: int, file: Path | None, load: Path | None, shapes: Path | None) -> None:
    """A local Salesforce org on real HTTP, for trials and tests.

    \b
    The file for --load is a list of rows, each with its object and any fields, ids included:
      - object: i360__Prospect__c
        Id: a01P00000000001IAA
        i360__Primary_Email__c: ann@example.com
      - {object: Note, ParentId: a01P00000000001IAA, Title: Called}

    \b
    Or some of these keys. objects adds some of your own, or fields and record types to known ones
    (field: type, or keys as describe has them):
      objects:
        Badge__c:
          keyPrefix: a0Z
          fields:
            Name: string
            Owner_Mail__c: email
            Prospect__c: {type: reference, referenceTo: [i360__Prospect__c], relationshipName: Prospect__r}
            Land__c: {type: picklist, values: [US, CA]}
            City__c: {type: picklist, controllerName: Land__c, values: [{value: Detroit, validFor: [US]}]}
          recordTypes:
            Visitor: {default: true, picklists: {Land__c: [US]}}
      rows:
        - {object: Badge__c, Name: First}
        - {object: Account, Id: 001000000000001AAA, Name: Acme}
      users:                     # who may sign in, and what is hidden from them: none, read, edit (objects), all
        - username: ann@example.com
          password: secret
          objects: {Lead: none, Account: read}
          fields: {Contact.Birthdate: none, Contact.Phone: read}
      clients:                   # besides sandbox, whose secret is sandbox
        my_app: {secret: s3cret, callbacks: [http://localhost:8080/callback], pkce: true, rotate: true}
        a_job: {secret: s3cret, run_as: ann@example.com, certificate_file: job.crt}
      rules:
        Account:
          on: [required, length, picklist, unique]
          validations: [{condition: "AnnualRevenue < `0`", message: No debts, field: AnnualRevenue}]
          duplicates: [{fields: [Name, Phone], allow: true}]
          locks: {001000000000001AAA: 2}
      faults:                    # the next requests that touch an object, or at random by a seed
        - {object: Account, verb: read, status: 503, times: 2}
        - {verb: write, status: lock_row, rate: 0.1, seed: 7, times: null}
      org: {page_size: 2000, api_limit: 15000, token_seconds: 7200, consent: allow}

    true, false, null and plain numbers are typed, everything else is text: 02134, on, 2025-01-05T09:00:00Z.
    Loading the same file again changes the rows that are there, where they have ids.
    """  # noqa: D301  click's own mark
    if context.invoked_subcommand is None:
        try:
            _serve(port, file, load, shapes or fixtures.recorded_shapes())
        except UnicodeDecodeError:
            raise click.ClickException(f"{load}: this is not UTF-8 text; save the file as UTF-8") from None
        except sqlite3.Error as wrong:
            raise click.ClickException(f"{file or load}: {wrong}") from None
        except OSError as wrong:
            taken = f"port {port} is taken; name another, or --port 0 for a free one"
            said = taken if wrong.errno == errno.EADDRINUSE else f"{wrong.filename}: {wrong.strerror}"
            raise click.ClickException(said) from None
        except ValueError as wrong:
            raise click.ClickException(str(wrong)) from None


def _serve(port: int, file: Path | None, load: Path | None, folder: Path) -> None:
    fixture = fixtures.read(load) if load else fixtures.Fixture()
    org = furnished.org(fixtures.shapes(folder), fixture, file)
    try:
        with serve(org, port=port) as url:
            client = next(iter(org.sessions.clients.values()))
            click.echo(f"sandbox org   {url}")
            click.echo(f"client id     {client.id}")
            click.echo(f"client secret {client.secret or '(none: a public client)'}")
            click.echo(
                f"objects       {len(org.schema.objects)}, rows loaded {len(fixture.rows)}, kept {file or 'in memory'}"
            )
            click.echo("Ctrl-C stops it.")
            threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        org.close()


@sandbox.command()
@click.argument("object_name", metavar="OBJECT")
@click.argument("record_id", metavar="ID")
@click.argument("fields", metavar="FIELD=VALUE...", nargs=-1, required=True)
@_URL
def edit(object_name: str, record_id: str, fields: tuple[str, ...], url: str) -> None:
    """Change a row as a user would. FIELD= clears the field."""
    pairs = [field.partition("=") for field in fields]
    wrong = next((name for name, mark, _ in pairs if not mark), None)
    if wrong is not None:
        raise click.UsageError(f"{wrong} is not FIELD=VALUE")
    _post(url, "edit", {"object": object_name, "id": record_id, "fields": {name: value for name, _, value in pairs}})
    click.echo(f"changed {object_name} {record_id}")


@sandbox.command()
@click.argument("object_name", metavar="OBJECT")
@click.argument("record_id", metavar="ID")
@_URL
def delete(object_name: str, record_id: str, url: str) -> None:
    """Put a row into the recycle bin."""
    _post(url, "delete", {"object": object_name, "id": record_id})
    click.echo(f"deleted {object_name} {record_id}")


@sandbox.command()
@click.argument("object_name", metavar="OBJECT")
@click.argument("record_id", metavar="ID")
@_URL
def undelete(object_name: str, record_id: str, url: str) -> None:
    """Take a row out of the recycle bin, with what went there with it."""
    _post(url, "undelete", {"object": object_name, "id": record_id})
    click.echo(f"undeleted {object_name} {record_id}")


@sandbox.command()
@click.argument("object_name", metavar="OBJECT")
@click.argument("master", metavar="MASTER")
@click.argument("losers", metavar="LOSER...", nargs=-1, required=True)
@_URL
def merge(object_name: str, master: str, losers: tuple[str, ...], url: str) -> None:
    """Merge rows into MASTER: the losers go into the recycle bin, their children become the master's."""
    _post(url, "merge", {"object": object_name, "master": master, "losers": losers})
    click.echo(f"merged {', '.join(losers)} into {object_name} {master}")


def _post(url: str, verb: str, body: Mapping[str, Any]) -> None:
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"{url} is not the url of an org")
    request = urllib.request.Request(f"{url.rstrip('/')}/sandbox/{verb}", json.dumps(body).encode(), method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310  the scheme is checked above
            return
    except urllib.error.HTTPError as refused:
        with refused:
            raise click.ClickException(_reason(refused.read())) from None
    except OSError as unreachable:
        said = f"no sandbox org at {url} ({_why(unreachable)}); start it with connector sandbox, or name it with --url"
        raise click.ClickException(said) from None


def _why(unreachable: OSError) -> str:
    reason = getattr(unreachable, "reason", unreachable)  # urllib wraps what has happened
    return getattr(reason, "strerror", None) or str(reason)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "the org refused, without saying why"
