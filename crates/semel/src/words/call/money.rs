//! Money: an amount in a unit of the user's choice.

use std::fmt;

/// Billionths in one.
const NANOS: i64 = 1_000_000_000;

/// An amount of money: `0.0015 USD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// Billionths of the unit.
    pub nanos: i64,
    /// The unit, mostly a currency's code.
    pub unit: String,
}

/// Why a text is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wants an amount and its unit, as in `0.0015 USD`")]
pub struct MoneyError;

impl Money {
    /// Reads `0.0015 USD`.
    ///
    /// # Errors
    /// If it is not a decimal number that is not below zero, a blank and a unit, or has more
    /// than nine decimals or ten digits before them.
    ///
    /// ```
    /// use semel::words::call::Money;
    /// assert_eq!(Money::parse("0.0015 USD").unwrap().nanos, 1_500_000);
    /// assert!(Money::parse("a cent").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let (amount, unit) = text.trim().split_once(' ').ok_or(MoneyError)?;
        let unit = unit.trim();
        let is_unit =
            !unit.is_empty() && unit.chars().all(|c| c.is_alphanumeric() || "€$£¥".contains(c));
        let nanos = nanos(amount).filter(|_| is_unit).ok_or(MoneyError)?;
        Ok(Self { nanos, unit: unit.to_owned() })
    }
}

/// Billionths of a decimal number.
fn nanos(amount: &str) -> Option<i64> {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let decimals: i64 = format!("{decimals:0<9}").parse().ok()?;
    whole.checked_mul(NANOS)?.checked_add(decimals)
}

impl fmt::Display for Money {
    /// With two decimals at least, and no more than are needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let (whole, rest) = (self.nanos.abs() / NANOS, self.nanos.abs() % NANOS);
        let decimals = format!("{rest:09}");
        let needed = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{whole}.{} {}", &decimals[..needed], self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_and_shown() {
        for (text, shown) in [
            ("0.0015 USD", "0.0015 USD"),
            ("20 USD", "20.00 USD"),
            ("18.5 EUR", "18.50 EUR"),
            ("0.000000001 USD", "0.000000001 USD"),
        ] {
            assert_eq!(Money::parse(text).unwrap().to_string(), shown);
        }
        for text in
            ["", "USD", "1", "-1 USD", "1,5 USD", "1.0000000001 USD", "99999999999 USD", "1 "]
        {
            assert_eq!(Money::parse(text), Err(MoneyError), "{text}");
        }
    }
}
