#!/usr/bin/env python3
"""A subscriber of facts: resumes after a restart, notices what it missed, and undoes what is retracted.

It reads one durable consumer, a message at a time and in the order of the log, and prints a JSON object a line:
`handle` for a fact, `undo` for a fact that was handled and no longer counts, `gap` where messages were missed,
`lost` for those of them that the stream has no more. The order of its steps is the rule: handle, remember in the
state file, acknowledge. Killed between the first two it handles a fact twice, so that what stands in the place of
`print` must take the message id as its key.

Needs nats-py: pip install nats-py==2.16.0 (and nkeys for --nkey-file).

    subscriber.py --chain SN_MAIN --only 'risk.>' --only 'retracted.>'
"""

import argparse
import asyncio
import json
import os

import nats
from nats.errors import TimeoutError as NothingCame
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

ACK_WAIT = 5.0  # seconds that one fact may take until the server delivers it again
PATIENCE = 5.0  # seconds that one request for a message waits
MOST_FACTS = 10_000  # most provisional facts remembered to be undone; the oldest go first


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="nats://127.0.0.1:4222")
    parser.add_argument("--token-file", help="file with the server's token")
    parser.add_argument("--nkey-file", help="file with the seed of this hook's NKey")
    parser.add_argument("--inbox", help="prefix of the inboxes that this user may subscribe to")
    parser.add_argument("--chain", default="SN_MAIN")
    parser.add_argument("--name", default="hook-example-v1", help="the consumer's name: another one begins anew")
    parser.add_argument("--state", default="subscriber.json", help="file that outlives the process")
    parser.add_argument("--only", action="append", default=[], metavar="SUBJECT",
                        help="subject below obsqra.v1.<chain>., such as risk.>; may be repeated")
    parser.add_argument("--final", action="store_true", help="facts when their block is final, and not before")
    parser.add_argument("--once", action="store_true", help="end when nothing is pending")
    return parser.parse_args()


def say(**line):
    print(json.dumps(line), flush=True)


class State:
    """What has to outlive the process."""

    def __init__(self, path):
        self.path = path
        known = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
        # Position of the first message ever seen: from there on none should be missing.
        self.since = known.get("since")
        # The last message of each subject: position in the log, sequence in the stream.
        self.subjects = known.get("subjects", {})
        # Subjects of the provisional facts that were handled, by position.
        self.facts = {int(seq): subject for seq, subject in known.get("facts", {}).items()}

    def save(self):
        """The file is the old one or the new one, never half of one."""
        beside = f"{self.path}.new"
        with open(beside, "w", encoding="utf-8") as file:
            json.dump({"since": self.since, "subjects": self.subjects, "facts": self.facts}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.path)

    def last(self, subject):
        """The last position on a subject that is not missing."""
        seen = self.subjects.get(subject)
        return seen["seq"] if seen else self.since - 1


class Incoming:
    """A message, from the consumer or read over from the stream."""

    def __init__(self, subject, headers, sequence, data):
        self.subject = subject
        self.id = headers["Nats-Msg-Id"]
        self.seq = int(headers["Obsqra-Seq"])
        self.previous = int(headers["Obsqra-Prev"])  # on the same subject; 0 for none
        self.finality = headers["Obsqra-Finality"]
        self.sequence = sequence
        self.body = json.loads(data)


class Subscriber:
    def __init__(self, jetstream, stream, state):
        self.jetstream = jetstream
        self.stream = stream
        self.state = state

    async def take(self, message):
        """Takes in a message: once, after those before it on its subject."""
        if self.state.since is None:
            self.state.since = message.seq
        last = self.state.last(message.subject)
        if message.subject in self.state.subjects and message.seq <= last:
            return
        if message.previous > last:
            await self.read_over(message, last)
        self.handle(message)
        self.state.save()

    async def read_over(self, message, last):
        """Reads what was missed from the stream, as far as it has it."""
        say(do="gap", subject=message.subject, after=last, before=message.seq)
        reached = last
        seen = self.state.subjects.get(message.subject)
        start = seen["stream_sequence"] + 1 if seen else 1
        while start < message.sequence:
            try:
                found = await self.jetstream.get_msg(self.stream, seq=start, subject=message.subject, next=True)
            except NotFoundError:
                break
            missed = Incoming(message.subject, found.headers, found.seq, found.data)
            start = found.seq + 1
            if missed.seq <= last or missed.seq >= message.seq:
                continue
            self.tell_lost(message.subject, reached, missed.previous)
            self.handle(missed)
            reached = missed.seq
        self.tell_lost(message.subject, reached, message.previous)

    def tell_lost(self, subject, after, up_to):
        """Says what neither the consumer nor the stream has: the log does, at these positions."""
        if up_to > after:
            say(do="lost", subject=subject, after=after, upTo=up_to)

    def handle(self, message):
        say(do="handle", seq=message.seq, subject=message.subject, id=message.id, finality=message.finality)
        facts = self.state.facts
        if ".retracted." in message.subject:
            self.undo(message)
        elif message.finality != "final":
            facts[message.seq] = message.subject
            while len(facts) > MOST_FACTS:
                del facts[min(facts)]
        self.state.subjects[message.subject] = {"seq": message.seq, "stream_sequence": message.sequence}

    def undo(self, message):
        """Takes back what was done for a fact, if anything was."""
        retracted = int(message.body["data"]["retractedSeq"])
        subject = self.state.facts.pop(retracted, None)
        if subject is not None:
            say(do="undo", seq=retracted, subject=subject, because=message.seq)


async def connect(chosen):
    login = {}
    if chosen.token_file:
        with open(chosen.token_file, encoding="utf-8") as file:
            login["token"] = file.read().strip()
    if chosen.nkey_file:
        login["nkeys_seed"] = chosen.nkey_file
    if chosen.inbox:
        login["inbox_prefix"] = chosen.inbox.encode()
    return await nats.connect(chosen.url, name=chosen.name, **login)


async def consume(jetstream, stream, chosen):
    lane = ".final" if chosen.final else ""
    config = ConsumerConfig(
        durable_name=chosen.name,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        # One at a time: a message that is delivered again is never behind a newer one.
        max_ack_pending=1,
        filter_subjects=[f"obsqra.v1.{chosen.chain}{lane}.{only}" for only in chosen.only] or None,
    )
    try:
        await jetstream.consumer_info(stream, chosen.name)
    except NotFoundError:
        await jetstream.add_consumer(stream, config)
    return await jetstream.pull_subscribe_bind(chosen.name, stream)


async def is_done(subscription):
    info = await subscription.consumer_info()
    return info.num_pending == 0 and info.num_ack_pending == 0


async def main():
    chosen = options()
    client = await connect(chosen)
    jetstream = client.jetstream()
    stream = f"OBSQRA_{chosen.chain}" + ("-final" if chosen.final else "")
    subscription = await consume(jetstream, stream, chosen)
    subscriber = Subscriber(jetstream, stream, State(chosen.state))
    while True:
        if chosen.once and await is_done(subscription):
            break
        try:
            messages = await subscription.fetch(1, timeout=PATIENCE)
        except NothingCame:
            continue
        for message in messages:
            sequence = message.metadata.sequence.stream
            await subscriber.take(Incoming(message.subject, message.headers, sequence, message.data))
            await message.ack_sync()
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
