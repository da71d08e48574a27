//! Where configuration and vaults are, and who said so.

use std::fmt;
use std::path::{Path, PathBuf};

/// Who decided on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A command-line option or the caller.
    Flag,
    /// `$SOBRE_HOME`.
    Environment,
    /// The XDG base directories.
    Xdg,
    /// `/etc/sobre`.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "option",
            Self::Environment => "$SOBRE_HOME",
            Self::Xdg => "XDG base directories",
            Self::System => "/etc/sobre",
        })
    }
}

/// The variables of the environment that matter.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `SOBRE_HOME`.
    pub sobre_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub xdg_data_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables of this process. Empty ones and, as the XDG specification wants it, relative ones count as unset.
    pub fn of_process() -> Self {
        let get = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            sobre_home: std::env::var_os("SOBRE_HOME").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty()),
            xdg_config_home: get("XDG_CONFIG_HOME"),
            xdg_data_home: get("XDG_DATA_HOME"),
            home: get("HOME"),
        }
    }
}

/// Where configuration and vaults are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file; it may not exist.
    pub config: PathBuf,
    /// Who decided on it.
    pub config_origin: Origin,
    /// The folder against which relative paths of the configuration count, and where new vaults go.
    pub data: PathBuf,
    /// Who decided on it.
    pub data_origin: Origin,
}

impl Paths {
    /// Decides: options, `$SOBRE_HOME`, XDG, and `/etc/sobre` where only that one has a configuration. `None` when nothing says
    /// where the user's files are.
    pub fn decide(home: Option<&Path>, config: Option<&Path>, environment: &Environment) -> Option<Self> {
        let chosen = match (home, &environment.sobre_home) {
            (Some(home), _) => Some((home.to_owned(), Origin::Flag)),
            (None, Some(home)) => Some((home.clone(), Origin::Environment)),
            (None, None) => None,
        };
        let base = |xdg: &Option<PathBuf>, fallback: &str| {
            let folder = xdg.clone().or_else(|| environment.home.as_ref().map(|home| home.join(fallback)));
            folder.map(|folder| folder.join("sobre"))
        };
        let (config_path, config_origin, data, data_origin) = match chosen {
            Some((home, origin)) => (home.join(CONFIG), origin, home, origin),
            None => {
                let users = base(&environment.xdg_config_home, ".config").map(|folder| folder.join(CONFIG));
                let system = Path::new(SYSTEM).join(CONFIG);
                let has_own = users.as_ref().is_some_and(|own| own.exists());
                if !has_own && (system.exists() || users.is_none()) {
                    (system, Origin::System, PathBuf::from(SYSTEM_DATA), Origin::System)
                } else {
                    let data = base(&environment.xdg_data_home, ".local/share")?;
                    (users?, Origin::Xdg, data, Origin::Xdg)
                }
            }
        };
        Some(match config {
            Some(config) => Self { config: config.to_owned(), config_origin: Origin::Flag, data, data_origin },
            None => Self { config: config_path, config_origin, data, data_origin },
        })
    }
}

const CONFIG: &str = "config.toml";
const SYSTEM: &str = "/etc/sobre";
const SYSTEM_DATA: &str = "/var/lib/sobre";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_environment_and_that_before_xdg() {
        let environment = Environment {
            sobre_home: Some("/srv/sobre".into()),
            xdg_config_home: None,
            xdg_data_home: Some("/data".into()),
            home: Some("/home/ana".into()),
        };
        let paths = Paths::decide(Some(Path::new("/flag")), None, &environment).expect("decided");
        assert_eq!((paths.config.to_str(), paths.data_origin), (Some("/flag/config.toml"), Origin::Flag));
        let paths = Paths::decide(None, None, &environment).expect("decided");
        assert_eq!((paths.data.to_str(), paths.data_origin), (Some("/srv/sobre"), Origin::Environment));
        let paths = Paths::decide(None, Some(Path::new("/c.toml")), &environment).expect("decided");
        assert_eq!((paths.config.to_str(), paths.config_origin), (Some("/c.toml"), Origin::Flag));
        assert_eq!(paths.data.to_str(), Some("/srv/sobre"));
        let environment = Environment { sobre_home: None, ..environment };
        let paths = Paths::decide(None, None, &environment).expect("decided");
        if paths.config_origin == Origin::Xdg {
            assert_eq!(paths.config.to_str(), Some("/home/ana/.config/sobre/config.toml"));
            assert_eq!(paths.data.to_str(), Some("/data/sobre"));
        }
    }
}
