//! A PKCS#11 module that forwards to SoftHSM, notes every call, and fails on demand.
//!
//! `SOBRE_SHIM_MODULE` is the module behind it. `SOBRE_SHIM_FAULTS` is a file with one fault a line: `FUNCTION FAULT TIMES`, where
//! TIMES counts down. `SOBRE_SHIM_CALLS` is a file to which the name of every intercepted call is appended.

use std::env;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::io::Write;
use std::mem::transmute;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

type Ulong = u64;
type Answer = Ulong;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// `CK_FUNCTION_LIST` of PKCS#11 2.40: a version, and 68 functions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Functions {
    version: usize,
    functions: [usize; 68],
}

/// `CK_ATTRIBUTE`.
#[repr(C)]
struct Attribute {
    kind: Ulong,
    value: *mut c_void,
    length: Ulong,
}

/// Places in the list of functions.
const GET_TOKEN_INFO: usize = 6;
const OPEN_SESSION: usize = 12;
const LOGIN: usize = 18;
const GET_ATTRIBUTE_VALUE: usize = 24;
const FIND_OBJECTS_INIT: usize = 26;
const DECRYPT_INIT: usize = 33;
const DECRYPT: usize = 34;
const GENERATE_KEY_PAIR: usize = 59;

static REAL: OnceLock<Functions> = OnceLock::new();
static OURS: OnceLock<Box<Functions>> = OnceLock::new();
static FILES: Mutex<()> = Mutex::new(());

/// Returns the functions that fail on demand.
///
/// # Safety
///
/// `list` is a place for a pointer, as PKCS#11 has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *const Functions) -> Answer {
    let real = REAL.get_or_init(load);
    let ours = OURS.get_or_init(|| {
        let mut ours = Box::new(*real);
        ours.functions[GET_TOKEN_INFO] = get_token_info as *const () as usize;
        ours.functions[OPEN_SESSION] = open_session as *const () as usize;
        ours.functions[LOGIN] = login as *const () as usize;
        ours.functions[GET_ATTRIBUTE_VALUE] = get_attribute_value as *const () as usize;
        ours.functions[FIND_OBJECTS_INIT] = find_objects_init as *const () as usize;
        ours.functions[DECRYPT_INIT] = decrypt_init as *const () as usize;
        ours.functions[GENERATE_KEY_PAIR] = generate_key_pair as *const () as usize;
        ours.functions[DECRYPT] = decrypt as *const () as usize;
        ours
    });
    // SAFETY: the caller's place; ours lives as long as the process.
    unsafe { *list = &**ours };
    0
}

fn load() -> Functions {
    let path = CString::new(env::var("SOBRE_SHIM_MODULE").expect("SOBRE_SHIM_MODULE")).expect("a path");
    // SAFETY: a module's own C_GetFunctionList, which gives a list that lives as long as the module.
    unsafe {
        let library = dlopen(path.as_ptr(), 2);
        assert!(!library.is_null(), "{path:?} can't be loaded");
        let symbol = dlsym(library, c"C_GetFunctionList".as_ptr());
        assert!(!symbol.is_null(), "{path:?} is no PKCS#11 module");
        let function: extern "C" fn(*mut *const Functions) -> Answer = transmute(symbol);
        let mut list = std::ptr::null();
        assert_eq!(function(&mut list), 0);
        *list
    }
}

/// Notes the call, and takes the next fault for it.
fn fault(function: &str) -> Option<String> {
    let _files = FILES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Ok(calls) = env::var("SOBRE_SHIM_CALLS") {
        let mut calls = fs::OpenOptions::new().append(true).create(true).open(calls).expect("opens");
        writeln!(calls, "{function}").expect("writes");
    }
    let path = env::var("SOBRE_SHIM_FAULTS").ok()?;
    let text = fs::read_to_string(&path).ok()?;
    let mut taken = None;
    let mut left = String::new();
    for line in text.lines() {
        let [name, fault, times] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let mut times: u64 = times.parse().expect("a number");
        if name == function && times > 0 && taken.is_none() {
            taken = Some(fault.to_owned());
            times -= 1;
        }
        left.push_str(&format!("{name} {fault} {times}\n"));
    }
    fs::write(&path, left).expect("writes");
    taken
}

/// What a fault answers, where it is an answer.
fn answer(fault: &str) -> Option<Answer> {
    Some(match fault {
        "device-error" => 0x30,
        "device-removed" => 0x32,
        "general-error" => 0x05,
        "pin-incorrect" => 0xa0,
        "pin-locked" => 0xa4,
        "session-handle-invalid" => 0xb3,
        "token-not-present" => 0xe0,
        "user-not-logged-in" => 0x101,
        "vendor-defined" => 0x8000_0001,
        _ => return None,
    })
}

fn real(place: usize) -> usize {
    REAL.get().expect("loaded").functions[place]
}

extern "C" fn get_token_info(slot: Ulong, info: *mut u8) -> Answer {
    let fault = fault("C_GetTokenInfo");
    if let Some(answer) = fault.as_deref().and_then(answer) {
        return answer;
    }
    // SAFETY: the module's own function of this signature.
    let done = unsafe { transmute::<usize, extern "C" fn(Ulong, *mut u8) -> Answer>(real(GET_TOKEN_INFO))(slot, info) };
    // The flags follow four texts of 96 bytes in all.
    let flag = match fault.as_deref() {
        Some("count-low") => 0x1_0000,
        Some("final-try") => 0x2_0000,
        Some("locked") => 0x4_0000,
        _ => 0_u64,
    };
    // SAFETY: CK_TOKEN_INFO has its flags there.
    unsafe {
        let flags = info.add(96).cast::<u64>();
        flags.write_unaligned(flags.read_unaligned() | flag);
    }
    done
}

extern "C" fn open_session(
    slot: Ulong,
    flags: Ulong,
    application: *mut c_void,
    notify: *mut c_void,
    session: *mut Ulong,
) -> Answer {
    type Real = extern "C" fn(Ulong, Ulong, *mut c_void, *mut c_void, *mut Ulong) -> Answer;
    if let Some(answer) = fault("C_OpenSession").as_deref().and_then(answer) {
        return answer;
    }
    // SAFETY: the module's own function of this signature.
    unsafe { transmute::<usize, Real>(real(OPEN_SESSION))(slot, flags, application, notify, session) }
}

extern "C" fn login(session: Ulong, user: Ulong, pin: *mut u8, length: Ulong) -> Answer {
    if let Some(answer) = fault("C_Login").as_deref().and_then(answer) {
        return answer;
    }
    // SAFETY: the module's own function of this signature.
    unsafe {
        transmute::<usize, extern "C" fn(Ulong, Ulong, *mut u8, Ulong) -> Answer>(real(LOGIN))(
            session, user, pin, length,
        )
    }
}

extern "C" fn get_attribute_value(session: Ulong, object: Ulong, list: *mut Attribute, count: Ulong) -> Answer {
    type Real = extern "C" fn(Ulong, Ulong, *mut Attribute, Ulong) -> Answer;
    let fault = fault("C_GetAttributeValue");
    if let Some(answer) = fault.as_deref().and_then(answer) {
        return answer;
    }
    // SAFETY: the module's own function of this signature.
    let done = unsafe { transmute::<usize, Real>(real(GET_ATTRIBUTE_VALUE))(session, object, list, count) };
    let lie = match fault.as_deref() {
        Some("length-terabyte") => 1 << 40,
        Some("length-of-all-memory") => Ulong::MAX - 1,
        _ => return done,
    };
    for place in 0..usize::try_from(count).expect("few") {
        // SAFETY: the caller's list.
        let attribute = unsafe { &mut *list.add(place) };
        // Only where it asks for lengths: a caller that gave memory would be made to read beyond it.
        if attribute.value.is_null() {
            attribute.length = lie;
        }
    }
    done
}

extern "C" fn find_objects_init(session: Ulong, list: *mut Attribute, count: Ulong) -> Answer {
    type Real = extern "C" fn(Ulong, *mut Attribute, Ulong) -> Answer;
    if let Some(answer) = fault("C_FindObjectsInit").as_deref().and_then(answer) {
        return answer;
    }
    // SAFETY: the module's own function of this signature.
    unsafe { transmute::<usize, Real>(real(FIND_OBJECTS_INIT))(session, list, count) }
}

extern "C" fn decrypt_init(session: Ulong, mechanism: *mut c_void, key: Ulong) -> Answer {
    type Real = extern "C" fn(Ulong, *mut c_void, Ulong) -> Answer;
    if let Some(answer) = fault("C_DecryptInit").as_deref().and_then(answer) {
        return answer;
    }
    // SAFETY: the module's own function of this signature.
    unsafe { transmute::<usize, Real>(real(DECRYPT_INIT))(session, mechanism, key) }
}

extern "C" fn decrypt(
    session: Ulong,
    input: *mut u8,
    input_len: Ulong,
    output: *mut u8,
    output_len: *mut Ulong,
) -> Answer {
    type Real = extern "C" fn(Ulong, *mut u8, Ulong, *mut u8, *mut Ulong) -> Answer;
    let fault = fault(if output.is_null() { "C_Decrypt.length" } else { "C_Decrypt" });
    match fault.as_deref() {
        Some("hang") => std::thread::sleep(Duration::from_secs(60)),
        Some(fault) => {
            if let Some(answer) = answer(fault) {
                return answer;
            }
        }
        None => {}
    }
    // SAFETY: the module's own function of this signature.
    let done = unsafe { transmute::<usize, Real>(real(DECRYPT))(session, input, input_len, output, output_len) };
    // SAFETY: the caller's own length.
    let length = unsafe { &mut *output_len };
    match fault.as_deref() {
        Some("length-of-all-memory") => *length = Ulong::MAX - 1,
        Some("length-megabytes") => *length = 1 << 24,
        Some("length-too-long") => *length += 5000,
        Some("length-zero") => *length = 0,
        _ => {}
    }
    done
}

extern "C" fn generate_key_pair(
    session: Ulong,
    mechanism: *mut c_void,
    publics: *mut Attribute,
    public_count: Ulong,
    privates: *mut Attribute,
    private_count: Ulong,
    public: *mut Ulong,
    private: *mut Ulong,
) -> Answer {
    type Real = extern "C" fn(
        Ulong,
        *mut c_void,
        *mut Attribute,
        Ulong,
        *mut Attribute,
        Ulong,
        *mut Ulong,
        *mut Ulong,
    ) -> Answer;
    let fault = fault("C_GenerateKeyPair");
    // SAFETY: the module's own function of this signature.
    let real = unsafe { transmute::<usize, Real>(real(GENERATE_KEY_PAIR)) };
    let done = real(session, mechanism, publics, public_count, privates, private_count, public, private);
    // The keys are there, and the caller does not learn of it.
    fault.as_deref().and_then(answer).unwrap_or(done)
}
