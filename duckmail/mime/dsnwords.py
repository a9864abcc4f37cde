"""What a report to a sender says to people, in their languages. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """`{host}` and the like are put in. Subjects and leads: failed, delayed, delivered, relayed."""

    subjects: tuple[str, str, str, str]
    leads: tuple[str, str, str, str]
    about: str
    said: str
    until: str
    late: str


WORDS: Mapping[str, Words] = {
    "en": Words(
        (
            "Your message was not delivered",
            "Your message is delayed",
            "Your message was delivered",
            "Your message was passed on",
        ),
        (
            "These recipients did not get it, and no further attempt will be made:",
            "These recipients have not got it yet. There is nothing for you to do: the attempts go on.",
            "It was delivered to these recipients:",
            "It was passed on to a server that does not tell what becomes of it, for these recipients:",
        ),
        "This is the mail server {host}. It is about your message of {date}.",
        "(said by {host})",
        "(attempts go on until about {time})",
        "It was not delivered in time. The last answer: {words}",
    ),
    "de": Words(
        (
            "Ihre Nachricht wurde nicht zugestellt",
            "Ihre Nachricht verzögert sich",
            "Ihre Nachricht wurde zugestellt",
            "Ihre Nachricht wurde weitergegeben",
        ),
        (
            "Diese Empfänger haben sie nicht erhalten, und es wird nicht weiter versucht:",
            "Diese Empfänger haben sie noch nicht erhalten. Sie müssen nichts tun: Die Versuche gehen weiter.",
            "Sie wurde diesen Empfängern zugestellt:",
            "Sie wurde für diese Empfänger an einen Server weitergegeben, der nicht meldet, was aus ihr wird:",
        ),
        "Hier ist der Mailserver {host}. Es geht um Ihre Nachricht vom {date}.",
        "(Antwort von {host})",
        "(versucht wird es bis etwa {time})",
        "Sie konnte nicht rechtzeitig zugestellt werden. Die letzte Antwort: {words}",
    ),
    "es": Words(
        (
            "Su mensaje no ha sido entregado",
            "Su mensaje se retrasa",
            "Su mensaje ha sido entregado",
            "Su mensaje ha sido transmitido",
        ),
        (
            "Estos destinatarios no lo han recibido y no habrá más intentos:",
            "Estos destinatarios aún no lo han recibido. No tiene que hacer nada: los intentos continúan.",
            "Ha sido entregado a estos destinatarios:",
            "Ha sido transmitido a un servidor que no informa de lo que ocurra, para estos destinatarios:",
        ),
        "Este es el servidor de correo {host}. Se trata de su mensaje del {date}.",
        "(respuesta de {host})",
        "(los intentos continúan hasta aproximadamente {time})",
        "No pudo ser entregado a tiempo. La última respuesta: {words}",
    ),
    "et": Words(
        (
            "Teie kirja ei toimetatud kohale",
            "Teie kiri hilineb",
            "Teie kiri toimetati kohale",
            "Teie kiri anti edasi",
        ),
        (
            "Need saajad ei saanud kirja kätte ja rohkem ei proovita:",
            "Need saajad ei ole kirja veel kätte saanud. Teil ei ole vaja midagi teha: proovimine jätkub.",
            "Kiri toimetati kohale nendele saajatele:",
            "Kiri anti nende saajate jaoks edasi serverile, mis ei teata, mis sellest saab:",
        ),
        "See on meiliserver {host}. Jutt on teie kirjast, mis saadeti {date}.",
        "(vastas {host})",
        "(proovitakse umbes kuni {time})",
        "Kirja ei õnnestunud õigel ajal kohale toimetada. Viimane vastus: {words}",
    ),
    "fr": Words(
        (
            "Votre message n'a pas été remis",
            "Votre message est retardé",
            "Votre message a été remis",
            "Votre message a été transmis",
        ),
        (
            "Ces destinataires ne l'ont pas reçu, et il n'y aura pas d'autre tentative :",
            "Ces destinataires ne l'ont pas encore reçu. Vous n'avez rien à faire : les tentatives continuent.",
            "Il a été remis à ces destinataires :",
            "Il a été transmis à un serveur qui ne dit pas ce qu'il devient, pour ces destinataires :",
        ),
        "Ici le serveur de messagerie {host}. Il s'agit de votre message du {date}.",
        "(réponse de {host})",
        "(les tentatives continuent jusqu'à {time} environ)",
        "Il n'a pas pu être remis à temps. La dernière réponse : {words}",
    ),
    "it": Words(
        (
            "Il suo messaggio non è stato consegnato",
            "Il suo messaggio è in ritardo",
            "Il suo messaggio è stato consegnato",
            "Il suo messaggio è stato inoltrato",
        ),
        (
            "Questi destinatari non lo hanno ricevuto e non ci saranno altri tentativi:",
            "Questi destinatari non lo hanno ancora ricevuto. Non deve fare nulla: i tentativi continuano.",
            "È stato consegnato a questi destinatari:",
            "È stato inoltrato a un server che non comunica che cosa ne sarà, per questi destinatari:",
        ),
        "Questo è il server di posta {host}. Si tratta del suo messaggio del {date}.",
        "(risposta di {host})",
        "(i tentativi continuano fino a circa {time})",
        "Non è stato consegnato in tempo. L'ultima risposta: {words}",
    ),
    "nl": Words(
        (
            "Uw bericht is niet bezorgd",
            "Uw bericht is vertraagd",
            "Uw bericht is bezorgd",
            "Uw bericht is doorgegeven",
        ),
        (
            "Deze ontvangers hebben het niet gekregen en er wordt niet verder geprobeerd:",
            "Deze ontvangers hebben het nog niet gekregen. U hoeft niets te doen: de pogingen gaan door.",
            "Het is bezorgd bij deze ontvangers:",
            "Het is voor deze ontvangers doorgegeven aan een server die niet meldt wat ermee gebeurt:",
        ),
        "Dit is de mailserver {host}. Het gaat over uw bericht van {date}.",
        "(antwoord van {host})",
        "(de pogingen gaan door tot ongeveer {time})",
        "Het kon niet op tijd worden bezorgd. Het laatste antwoord: {words}",
    ),
}


def words(language: str) -> Words:
    """`de`, `de_AT`, ...: what stands before `_` or `-` counts; English for what is not known."""
    return WORDS.get(language.replace("-", "_").partition("_")[0].lower(), WORDS["en"])
