//! The currencies that cards are charged in, and the amounts (Stripe, "Supported currencies": presentment currencies,
//! special cases, minimum and maximum charge amounts).

use crate::error::ApiError;

const SUPPORTED: [&str; 134] = [
    "usd", "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt", "bgn", "bif",
    "bmd", "bnd", "bob", "brl", "bsd", "bwp", "byn", "bzd", "cad", "cdf", "chf", "clp", "cny", "cop", "crc", "cve",
    "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur", "fjd", "fkp", "gbp", "gel", "gip", "gmd", "gnf", "gtq",
    "gyd", "hkd", "hnl", "htg", "huf", "idr", "ils", "inr", "isk", "jmd", "jpy", "kes", "kgs", "khr", "kmf", "krw",
    "kyd", "kzt", "lak", "lbp", "lkr", "lrd", "lsl", "mad", "mdl", "mga", "mkd", "mmk", "mnt", "mop", "mur", "mvr",
    "mwk", "mxn", "myr", "mzn", "nad", "ngn", "nio", "nok", "npr", "nzd", "pab", "pen", "pgk", "php", "pkr", "pln",
    "pyg", "qar", "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr", "sek", "sgd", "shp", "sle", "sos", "srd", "std",
    "szl", "thb", "tjs", "top", "try", "ttd", "twd", "tzs", "uah", "ugx", "uyu", "uzs", "vnd", "vuv", "wst", "xaf",
    "xcd", "xof", "xpf", "yer", "zar", "zmw",
];

/// Lower case in answers; any case in requests.
pub(crate) fn parse(code: &str) -> Result<String, ApiError> {
    let code = code.to_ascii_lowercase();
    if SUPPORTED.contains(&code.as_str()) {
        return Ok(code);
    }
    let supported = SUPPORTED.join(", ");
    let message = format!("Invalid currency: {code}. Stripe currently supports these currencies: {supported}");
    Err(ApiError::invalid(&message).with_parameter("currency"))
}

/// Whether so much can be charged at once.
pub(crate) fn check(amount: u64, currency: &str) -> Result<(), ApiError> {
    let refuse = |code, message: &str| Err(ApiError::invalid(message).with_code(code).with_parameter("amount"));
    let (minimum, maximum) = (minimum(currency), maximum(currency));
    if amount == 0 {
        return refuse("parameter_invalid_integer", "This value must be greater than or equal to 1.");
    }
    if amount < minimum {
        return refuse("amount_too_small", &format!("Amount must be at least {minimum} minor units of {currency}"));
    }
    if amount > maximum {
        return refuse("amount_too_large", &format!("Amount must be no more than {maximum} minor units of {currency}"));
    }
    // Both have no decimals any more, and are written with two all the same.
    if matches!(currency, "isk" | "ugx") && !amount.is_multiple_of(100) {
        return refuse("parameter_invalid_integer", &format!("Amounts of {currency} must be divisible by 100"));
    }
    Ok(())
}

/// In minor units. Of an account that settles in the currency itself; where Stripe would have to convert, it depends on
/// the rate of the day, and nothing is too small here.
fn minimum(currency: &str) -> u64 {
    match currency {
        "gbp" => 30,
        "usd" | "aud" | "brl" | "cad" | "chf" | "eur" | "inr" | "jpy" | "nzd" | "sgd" => 50,
        "bgn" => 100,
        "aed" | "myr" | "pln" | "ron" => 200,
        "dkk" => 250,
        "nok" | "sek" => 300,
        "hkd" => 400,
        "mxn" | "thb" => 1000,
        "czk" => 1500,
        "huf" => 17_500,
        _ => 1,
    }
}

fn maximum(currency: &str) -> u64 {
    match currency {
        "lbp" => 99_999_999_999_999,
        "cop" | "huf" | "jpy" => 9_999_999_999_999,
        "idr" => 999_999_999_999,
        "inr" => 999_999_999,
        _ => 99_999_999,
    }
}
