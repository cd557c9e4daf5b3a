user_pref("mail.identity.id1.useremail", "anna@club.example");
user_pref("mail.smtpserver.smtp1.hostname", "mail.club.example");
user_pref("mail.smtpserver.smtp1.port", 587);
user_pref("mail.smtpserver.smtp1.try_ssl", 2);
user_pref("mail.smtpserver.smtp1.username", "anna@club.example");
user_pref("mail.smtpservers", "smtp1");
