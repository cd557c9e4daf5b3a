# SPDX-License-Identifier: ISC
"""A real Postfix that says, at the end of each message, what a provider says when the day's allowance is used up; beside
it an Exim that takes everything. A quota is the gateway's matter, whatever its code: nothing is returned, nothing doubled."""
import pytest

from lib import mta
from lib.mail import message, name_of
from lib.wait import until

TEXTS = {
    "gmail": "550 5.4.5 Daily user sending quota exceeded.",
    "microsoft": "554 5.2.0 Submission quota exceeded for this account",
    "relay": "550 5.7.1 Daily SMTP relay limit exceeded for customer",
}


class QuotaPostfix(mta.Postfix):
    def __init__(self, top, text):
        super().__init__(top)
        self.extra = f"smtpd_end_of_data_restrictions = check_client_access static:{{{text}}}\n"


@pytest.mark.parametrize("provider", TEXTS)
def test_what_a_used_up_gateway_refuses_goes_another_way(make, exim, tmp_path, provider):
    full = QuotaPostfix(tmp_path / "full", TEXTS[provider]).start()
    try:
        full.await_ready()
        waypost = make.waypost({"full": full.gateway(priority="high"), "other": exim.gateway()})
        names = []
        for _ in range(60):
            sent = message()
            names.append(name_of(sent))
            waypost.send(sent)
        until("all is at the other one", lambda: all(n in exim.messages() for n in names), 60)
        assert all(len(exim.messages()[n]) == 1 for n in names)
        assert not full.messages()
        until("nothing waits", lambda: not waypost.queue(), 30)
        # It was really asked, and said so.
        assert TEXTS[provider].split(" ", 2)[2][:20].encode() in waypost.run("gateway", "show", "full").stdout
    finally:
        full.stop()
